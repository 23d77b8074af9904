"""The connection between the hosts of a run: who is there, what each says, and who is lost. Sockets only, no JAX.

Host 0 listens and the others call it: a star. Over each connection go lines of JSON: a greeting, values to exchange, a
failure, a farewell, and a sign of life four times in a heartbeat. A process that dies closes its connection at once;
one that hangs, or whose machine is gone, is silent for a heartbeat. All hosts are told either, by name.
"""

import contextlib
import json
import math
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mtjax.errors import CODES, ExitCode, HostLost, InputError

NOTICE = 10.0  # seconds of waiting after which a process says for whom it waits, and why
RETRY = 0.2  # seconds between two calls to a host 0 that does not answer yet
LOCAL = ("127.0.0.1", "::1", "localhost")  # addresses that only this machine can call


class Cluster(NamedTuple):
    """The place of this process among the hosts."""

    address: str  # of host 0
    port: int  # of host 0
    hosts: int  # number of hosts
    host: int  # this one, from 0
    start_timeout: float = 300.0  # seconds within which all must have come
    heartbeat: float = 100.0  # seconds of silence after which a host counts as lost
    jax_port: int | None = None  # of JAX's own service on host 0; None is the next one
    found: str = ""  # the cluster that JAX found and what it was read from; "" where MTJAX_... say it
    local: int | None = None  # number of this process among those of its machine, where JAX knows it

    @property
    def way_out(self) -> str:
        """What to look at where the hosts do not meet."""
        if not self.found:
            return "set MTJAX_HOSTS alike and MTJAX_HOST from 0 on each host"
        return f"found by JAX: {self.found}; if this process was meant to run by itself, set MTJAX_HOSTS=1"


class Line:
    """This host's connection to the others.

    `on_end` is called once, from a thread, with an exit code and a sentence when another host failed or is lost.

    Raises:
        HostLost: not all came in time; names those that are missing.
        InputError: the hosts do not agree on their number, or two say that they are the same one.
    """

    def __init__(self, cluster: Cluster, on_end: Callable[[int, str], None]):
        self.cluster, self.on_end = cluster, on_end
        self.said: dict[int, queue.Queue] = {}  # what each host (seen from host 0) or all of them said, in order
        self.peers: dict[int, socket.socket] = {}
        self.names = {cluster.host: f"{socket.gethostname()}, pid {os.getpid()}"}
        self.gone: set[int] = set()  # said farewell
        self.ended, self.sending = threading.Event(), threading.Lock()
        deadline = time.monotonic() + cluster.start_timeout
        (self._gather if cluster.host == 0 else self._call)(deadline)
        self.listeners = []
        for index, peer in self.peers.items():
            peer.settimeout(cluster.heartbeat)
            self.said[index] = queue.Queue()
            self.listeners.append(threading.Thread(target=self._listen, args=(index, peer), daemon=True))
            self.listeners[-1].start()
        threading.Thread(target=self._live, daemon=True).start()

    # The start.

    def _gather(self, deadline: float) -> None:
        """Host 0: wait for the others, then greet them all, or tell those who came who is missing."""
        cluster, refusal = self.cluster, ""
        family = socket.AF_INET6 if ":" in cluster.address else socket.AF_INET
        here = cluster.address if cluster.address in LOCAL else ""  # in a cluster, by any way that host 0 is reached
        try:
            server = socket.create_server((here, cluster.port), family=family, backlog=cluster.hosts)
        except OSError as error:
            where = "JAX_COORDINATOR_PORT" if cluster.found else "MTJAX_COORDINATOR"
            raise InputError(
                f"host 0 cannot listen on port {cluster.port} ({error}); choose another port in {where}"
            ) from error
        notice = time.monotonic() + NOTICE
        with server:
            while len(self.peers) < cluster.hosts - 1 and not refusal and time.monotonic() < deadline:
                server.settimeout(max(min(deadline, notice) - time.monotonic(), 0.01))
                try:
                    peer, _ = server.accept()
                except OSError:
                    if time.monotonic() >= notice:
                        notice = math.inf
                        self._waits(f"host {_numbers(set(range(cluster.hosts)) - self.names.keys())}")
                    continue
                try:
                    said = _greeting(peer, 10.0)
                    index, count, name = int(said["hello"]), int(said["of"]), str(said["name"])
                except (OSError, ValueError, KeyError, TypeError):
                    peer.close()  # a stranger
                    continue
                if count != cluster.hosts:
                    refusal = f"host {index} ({name}) expects {count} hosts, host 0 {cluster.hosts}"
                elif not 0 < index < count or index in self.peers:
                    other = self.names.get(index, "nobody")
                    refusal = f"{name} says it is host {index} of {count}, which is {other}"
                if index in self.peers:
                    self.peers[index].close()
                self.peers[index], self.names[index] = peer, name
        missing = sorted(set(range(cluster.hosts)) - self.names.keys())
        stop: InputError | HostLost | None = None
        if refusal:
            stop = InputError(f"{refusal}; {cluster.way_out}")
        elif missing:
            here = "; ".join(f"{index} = {name}" for index, name in sorted(self.names.items()))
            stop = HostLost(
                f"host {_numbers(missing)} of {cluster.hosts} did not come within {cluster.start_timeout:g} "
                f"s (here: {here}); look at its log, or raise MTJAX_START_TIMEOUT{self._found()}"
            )
        for peer in self.peers.values():
            self._send(peer, {"refused": [str(stop), CODES[type(stop)]]} if stop else {"welcome": self.names})
        if stop:
            self._hang_up()
            raise stop

    def _call(self, deadline: float) -> None:
        """Another host: call host 0 until it answers, then wait for its greeting."""
        cluster = self.cluster
        where, notice = f"{cluster.address}:{cluster.port}", time.monotonic() + NOTICE
        while True:
            try:
                peer = socket.create_connection((cluster.address, cluster.port), timeout=5)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise HostLost(
                        f"host 0 is missing: nobody answers at {where} within {cluster.start_timeout:g} s ({error}); "
                        f"look at its log{' and MTJAX_COORDINATOR' * (not cluster.found)}, or raise "
                        f"MTJAX_START_TIMEOUT{self._found()}"
                    ) from error
                if time.monotonic() > notice:
                    notice = math.inf
                    self._waits(f"host 0 at {where}")
                time.sleep(RETRY)
        self._send(peer, {"hello": cluster.host, "of": cluster.hosts, "name": self.names[cluster.host]})
        try:  # host 0 says itself who is missing
            said = _greeting(peer, max(deadline - time.monotonic(), 0) + 10)
        except (OSError, ValueError) as error:
            peer.close()
            raise HostLost(f"host 0 at {where} went away during the roll call; look at its log") from error
        if "refused" in said:
            peer.close()
            text, code = said["refused"]
            raise InputError(text) if code == ExitCode.BAD_INPUT else HostLost(text)
        self.peers[0], self.names = peer, {int(index): name for index, name in said["welcome"].items()}

    def _waits(self, whom: str) -> None:
        """Say for whom this process waits: it may have been meant to run by itself."""
        cluster = self.cluster
        print(
            f"host {cluster.host}: waiting for {whom}, up to {cluster.start_timeout:g} s{self._found()}",
            file=sys.stderr,
            flush=True,
        )

    def _found(self) -> str:
        return f"; {self.cluster.way_out}" if self.cluster.found else ""

    # The run.

    def exchange(self, value: Any) -> list[Any]:
        """Every host's value (JSON), by index; all hosts must call it equally often.

        It waits for all, for ever if another host ended: `on_end` ends this one.
        """
        if self.cluster.host:
            self._send(self.peers[0], {"say": value})
            return list(self.said[0].get())
        values = [value, *(self.said[index].get() for index in range(1, self.cluster.hosts))]
        self._tell({"say": values})
        return values

    def fail(self, code: int, text: str) -> None:
        """Tell all other hosts that this one stops with this exit code, and why."""
        self.ended.set()
        self._tell({"failed": [self.cluster.host, code, text]})

    def wait_for_others(self, seconds: float) -> None:
        """Wait until the others have hung up, but no longer than this."""
        deadline = time.monotonic() + seconds
        for thread in self.listeners:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0))

    def close(self) -> None:
        """Say farewell: what happens to this process from here on is not a failure."""
        self.ended.set()
        self._tell({"bye": self.cluster.host})
        self._hang_up()

    def _hang_up(self) -> None:
        """Close all connections; what was sent still arrives."""
        for peer in self.peers.values():
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    def _listen(self, index: int, peer: socket.socket) -> None:
        """A thread for each connection: read what comes until it ends."""
        why = "its process is gone"
        try:
            with peer.makefile("r", encoding="utf-8") as lines:
                for said in map(json.loads, lines):
                    if "say" in said:
                        self.said[index].put(said["say"])
                    elif "failed" in said:
                        return self._end(*said["failed"])
                    elif "bye" in said:
                        self.gone.add(index)
                        return None
        except TimeoutError:
            why = f"not a sign of it for {self.cluster.heartbeat:g} s"
        except (OSError, ValueError):
            pass
        return self._end(index, ExitCode.HOST_LOST, why)

    def _end(self, index: int, code: int, text: str) -> None:
        """Another host failed or is lost: tell the others, then end here."""
        if self.ended.is_set():
            return
        self.ended.set()
        if self.cluster.host == 0:
            self._tell({"failed": [index, code, text]}, but=index)
        name = f"host {index} ({self.names.get(index, 'unknown')})"
        lost = code == ExitCode.HOST_LOST
        self.on_end(code, f"{name} is lost: {text}" if lost else f"{name} stopped: {text}")

    def _live(self) -> None:
        """A thread that gives signs of life."""
        while not self.ended.wait(self.cluster.heartbeat / 4):
            self._tell({"ping": self.cluster.host})

    def _tell(self, message: dict[str, Any], but: int | None = None) -> None:
        for index, peer in self.peers.items():
            if index != but and index not in self.gone:
                self._send(peer, message)

    def _send(self, peer: socket.socket, message: dict[str, Any]) -> None:
        """Write to a peer; one that cannot be written to is found by the thread that reads from it."""
        with contextlib.suppress(OSError), self.sending:
            peer.sendall(json.dumps(message).encode() + b"\n")


def _numbers(hosts: Iterable[int]) -> str:
    """Numbers of hosts; of many, the first eight and how many more."""
    hosts = sorted(hosts)
    return ", ".join(map(str, hosts[:8])) + (f" and {len(hosts) - 8} more" if len(hosts) > 8 else "")


def _greeting(peer: socket.socket, seconds: float) -> Any:
    """The first line of a connection as JSON, read byte by byte: what comes after it is for `_listen`."""
    peer.settimeout(seconds)
    line = b""
    while not line.endswith(b"\n"):
        byte = peer.recv(1)
        if not byte or len(line) > 1 << 20:
            raise OSError("the line was cut")
        line += byte
    return json.loads(line)
