"""Many hosts, one process each: found by the environment, made to agree, and stopped together.

A cluster that JAX recognises is found by itself (`clusters`). Elsewhere a launcher (see `docs/launch.md`) sets on each
host, and where these are set they are what counts,

    MTJAX_HOSTS=4  MTJAX_HOST=0..3  MTJAX_COORDINATOR=address:port   (of host 0; the next port is used too)
    MTJAX_START_TIMEOUT=300   seconds within which all hosts must have come
    MTJAX_HEARTBEAT=100       seconds of silence after which a host counts as lost

Without either a run has one process, and every function here does nothing. `MTJAX_HOSTS=1` makes it so in a cluster.
"""

import contextlib
import ctypes
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from mtjax.distributed.clusters import find_cluster, local_devices
from mtjax.distributed.host_channel import LOCAL, Cluster, Line
from mtjax.errors import CODES, ExitCode, InputError, Terminated

T = TypeVar("T")

_line: Line | None = None  # of the session in force

GRACE = 5.0  # seconds that an exception of unknown cause, or another host's failure, waits for the one that explains it
ALIKE = ("jax", "jaxlib", "libtpu", "flax", "optax", "orbax-checkpoint", "numpy")
"""Packages whose versions must be the same on every host: the hosts compile the same program, or hang."""
ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_PLATFORMS")
"""Variables that change what is compiled."""


def index() -> int:
    """Number of this host, 0 where there is one."""
    return 0 if _line is None else _line.cluster.host


def count() -> int:
    """Number of hosts of the run."""
    return 1 if _line is None else _line.cluster.hosts


def exchange(value: T) -> list[T]:
    """Every host's value (JSON), by host. All hosts must call it at the same place; it waits for them."""
    return [value] if _line is None else _line.exchange(value)


def barrier() -> None:
    """Wait until all hosts are here."""
    exchange(None)


def on_first(make: Callable[[], T]) -> T:
    """What `make` gives on host 0 (JSON), on every host; the others do not call it. An error there stops them all."""
    return exchange(make() if index() == 0 else None)[0]  # type: ignore[return-value]


def see_alike(folder: pathlib.Path) -> bool:
    """Whether every host sees in `folder` what host 0 writes there; each host gets its own answer."""
    mark = folder / f"seen-by-all-{on_first(lambda: str(time.time_ns()))}"
    if count() == 1:
        return True
    if index() == 0:
        mark.touch()
    barrier()
    seen = mark.exists()
    barrier()
    if index() == 0:
        mark.unlink()
    return seen


def agree(facts: Mapping[str, str]) -> None:
    """Compare facts, by name, between all hosts.

    Raises:
        InputError: on every host alike; names the hosts that differ from most (from host 0 in a tie) and each fact with
            both values.
    """
    everyone, found = exchange(dict(facts)), []
    for name in sorted(set().union(*everyone)):
        values = [facts.get(name, "absent") for facts in everyone]
        if len(set(values)) > 1:
            (most, times), (_, second), *_ = Counter(values).most_common()
            norm = values[0] if times == second else most
            others = [f"host {n} has {value!s:.80}" for n, value in enumerate(values) if value != norm]
            more = f" and {len(others) - 4} more hosts" if len(others) > 4 else ""
            found.append(f"{name}: {', '.join(others[:4])}{more}, host {values.index(norm)} has {norm!s:.80}")
    if found:
        more = f"; and {len(found) - 6} more" if len(found) > 6 else ""
        raise InputError(f"the hosts disagree. {'; '.join(found[:6])}{more}. Start all with the same code and settings")


def code_facts() -> dict[str, str]:
    """Facts that must be the same on every host before JAX starts: our code, Python, packages and some variables."""
    folder, made = pathlib.Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        made.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    facts = {"code of mtjax": made.hexdigest()[:16], "Python": ".".join(platform.python_version_tuple()[:2])}
    for package in ALIKE:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            facts[f"version of {package}"] = importlib.metadata.version(package)
    return facts | {name: os.environ.get(name, "") for name in ENVIRONMENT}


def device_facts() -> dict[str, str]:
    """Facts about devices that must be the same: how many a host has, how many there are, and of which kind."""
    import jax

    kinds = ", ".join(sorted({device.device_kind for device in jax.local_devices()}))
    return {"devices": f"{jax.local_device_count()} x {kinds}", "devices in all": str(jax.device_count())}


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """The place of this process, from `MTJAX_...`; None for a run of one process. InputError if it is incomplete."""
    names = ("MTJAX_HOSTS", "MTJAX_HOST", "MTJAX_COORDINATOR")
    given = {name: environment[name] for name in names if environment.get(name)}
    if not given or given.get("MTJAX_HOSTS") == "1":
        return None
    if len(given) < len(names):
        raise InputError(f"{', '.join(given)} is set, but {', '.join(set(names) - given.keys())} is not; set all three")
    address, _, port = given["MTJAX_COORDINATOR"].rpartition(":")
    try:
        cluster = Cluster(address.strip("[]"), int(port), int(given["MTJAX_HOSTS"]), int(given["MTJAX_HOST"]))
    except ValueError as error:
        raise InputError(f"{given}: expected two numbers and address:port ({error})") from error
    if not address or not 0 <= cluster.host < cluster.hosts:
        raise InputError(f"{given}: expected 0 <= MTJAX_HOST < MTJAX_HOSTS, and an address before the port")
    return _with_times(cluster, environment)


def _with_times(cluster: Cluster, environment: Mapping[str, str]) -> Cluster:
    """The cluster with the time limits of the environment; InputError where one is no number above 0."""
    variables = {"start_timeout": "MTJAX_START_TIMEOUT", "heartbeat": "MTJAX_HEARTBEAT"}
    given = {name: environment[variable] for name, variable in variables.items() if environment.get(variable)}
    try:
        times = {name: float(text) for name, text in given.items()}
    except ValueError as error:
        raise InputError(f"{', '.join(variables.values())}: expected seconds ({error})") from error
    if not all(time > 0 for time in times.values()):
        raise InputError(f"{', '.join(variables.values())} = {list(times.values())}: expected seconds above 0")
    return cluster._replace(**times)  # type: ignore[arg-type]


def cluster_of_process(environment: Mapping[str, str] = os.environ) -> Cluster | None:
    """What `MTJAX_...` say, else the cluster that JAX finds; None for a run of one process. InputError as of both."""
    cluster = read_cluster(environment)
    if cluster is None and not environment.get("MTJAX_HOSTS"):
        seconds = _with_times(Cluster("", 0, 1, 0), environment).start_timeout
        found = find_cluster(environment, seconds)
        cluster = found and _with_times(found, environment)
    return cluster


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Connect the hosts and start JAX's own service; inside, all stop when one does.

    It must come before JAX looks for devices. Only host 0 prints; errors come from every host, after its number. With
    several hosts an exception ends the process here, with its exit code, because JAX's shutdown would wait for hosts
    that are lost.

    Raises:
        HostLost: a host did not come; the message names it.
        InputError: an incomplete description of the hosts; hosts whose code differs, named.
    """
    global _line
    cluster = cluster_of_process()
    if cluster is None:
        yield
        return
    _line = line = Line(cluster, _end_here)
    try:
        with contextlib.ExitStack() as stack:
            if cluster.host:
                silence = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            agree(code_facts())
            _start_jax(cluster, local_devices(cluster, line.names))
            yield
            barrier()
            import jax

            line.close()
            jax.distributed.shutdown()
    except BaseException as error:
        _fail(line, error)
    finally:
        _line = None


def _start_jax(cluster: Cluster, devices: list[int] | None) -> None:
    """Start JAX's service, with the GPUs of these numbers (None: all), and let its abort wait for our line.

    The line then ends this process with a name.

    JAX's service aborts the process if it sees first that a host died. The abort then sleeps first: the C library's
    `sleep` becomes its signal's handler and gets the signal's number, 6, as seconds. (The service has a hook for a
    callback, but cannot call one of Python's: jaxlib 0.10 throws `bad_cast`.)
    """
    import jax

    host = f"[{cluster.address}]" if ":" in cluster.address else cluster.address
    address = f"{host}:{cluster.jax_port or cluster.port + 1}"
    jax.distributed.initialize(
        address,
        cluster.hosts,
        cluster.host,
        devices,
        cluster_detection_method="deactivate",
        initialization_timeout=int(cluster.start_timeout),
        heartbeat_timeout_seconds=max(int(cluster.heartbeat), 1),
        coordinator_bind_address=address if cluster.address in LOCAL else None,
    )
    library = ctypes.CDLL(None)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal(signal.SIGABRT, ctypes.cast(library.sleep, ctypes.c_void_p))


def _fail(line: Line, error: BaseException) -> None:
    """This host stops on an exception: tell the others and end. What follows from a lost host gives way to that."""
    code = int(next((code for kind, code in CODES.items() if isinstance(error, kind)), 1))
    if isinstance(error, KeyboardInterrupt):
        code = int(ExitCode.INTERRUPTED)
    elif isinstance(error, Terminated):
        code = int(error.code)
    elif isinstance(error, SystemExit):  # such as `--help`
        code = int(error.code or 0)
    elif code in (1, ExitCode.STORAGE):
        # It may follow from a peer's death, such as in a collective: then the line says so in a moment, and ends this.
        time.sleep(GRACE)
        if code == 1:
            traceback.print_exception(error)
    text = str(error) or type(error).__name__
    print(f"host {line.cluster.host}: error: {text}", file=sys.stderr)
    line.fail(code, text)
    _exit(code, line)


def _end_here(code: int, text: str) -> None:
    """Another host failed or is lost. A failure that all hosts meet is reported by each in its own words."""
    if code not in (ExitCode.HOST_LOST, 1):
        time.sleep(GRACE)
    if code == ExitCode.HOST_LOST:
        text += "; the last whole checkpoint counts: start all hosts again, the same command goes on from it"
    print(f"host {index()}: error: {text}", file=sys.stderr)
    _exit(code, _line)


def _exit(code: int, line: Line | None) -> None:
    """End this process, whatever its threads wait for; host 0 last, because JAX's service takes its end for a
    failure."""
    if line is not None and line.cluster.host == 0:
        line.wait_for_others(2 * GRACE)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def check_one_host() -> None:
    """InputError in one of many processes (`MTJAX_HOSTS`), for commands that run on one host."""
    cluster = read_cluster()
    if cluster is not None and count() == 1:
        raise InputError(
            f"MTJAX_HOSTS={cluster.hosts}, but this command runs on one host; run it by itself, without the launcher"
        )
