"""Worker processes that make pieces of a source, where there are more records than one process should tokenise."""

import contextlib
import multiprocessing.connection
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from mtjax.data.encoding import Decoder, Encoder
from mtjax.data.formats import FORMATS
from mtjax.data.pieces import Piece, Work, make_piece
from mtjax.data.tokenizer import load_tokenizer

ALONE = 8  # Pieces that are made here before processes are started, which take some seconds until they are ready.
MOST = 32  # Processes that are started where nothing is said: one process reads and writes for all of them.
BUFFERED = 4  # Pieces for each process that are being made or wait for their turn.


def default_workers() -> int:
    """One process for each core that this process may use, at most 32."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST)


def in_order(
    work: Work, pieces: Iterator[list[Any]], workers: int, may_start: Callable[[], bool]
) -> Iterator[tuple[list[Any], Piece | None]]:
    """Each piece of records, in order, with what a process made of it; None where it is to be made here.

    The latter are the first pieces, those with an error, and those of a process that died.

    Args:
        work: how records become examples.
        pieces: the records.
        workers: processes; with 1 all is made here.
        may_start: whether processes may be started yet.
    """
    pool, number = None, 0
    try:
        while pool is None or not pool.ready():
            if (items := next(pieces, None)) is None:
                return
            yield items, None
            number += 1
            if workers > 1 and number >= ALONE and pool is None and may_start():
                pool = _Pool(work, workers)
            if pool is not None and not pool.processes:
                workers, pool = 1, None
        yield from pool.map(pieces)
    finally:
        if pool is not None:
            pool.close()


class _Pool:
    """Processes that load the tokenizer and then make pieces; each has one at a time.

    They end when their pipes are closed, also where this process is killed.
    """

    def __init__(self, work: Work, count: int):
        self.processes: dict[Any, subprocess.Popen[bytes]] = {}
        self.waiting: set[Any] = set()  # pipes of those that are not ready
        try:
            told = _written(work)
        except Exception as error:
            self._say(f"cannot be sent to other processes ({error!r:.120})")
            return
        for _ in range(count):
            ours, theirs = multiprocessing.connection.Pipe()
            with theirs:
                self.processes[ours] = _start(theirs.fileno())
            ours.send_bytes(told)
            self.waiting.add(ours)

    def _say(self, why: str) -> None:
        print(f"data     one process tokenises: the data {why}", flush=True)

    def ready(self) -> bool:
        """Whether all processes are ready to work; those that cannot are left out, and it is said why."""
        pipe: Any
        for pipe in multiprocessing.connection.wait(self.waiting, 0):
            self.waiting.discard(pipe)
            try:
                answer = pipe.recv()
            except (EOFError, OSError):
                answer = f"cannot be read by other processes (one ended with status {self.processes[pipe].wait()})"
            if answer:
                self._drop(pipe)
                if not self.processes:
                    self._say(answer)
        return bool(self.processes) and not self.waiting

    def _drop(self, pipe: Any) -> None:
        process = self.processes.pop(pipe)
        self.waiting.discard(pipe)
        pipe.close()
        process.kill()
        process.wait()

    def map(self, pieces: Iterator[list[Any]]) -> Iterator[tuple[list[Any], Piece | None]]:
        """All pieces in order; an error of `pieces` is raised after those before it."""
        done: dict[int, tuple[list[Any], Piece | None]] = {}
        sent: dict[Any, tuple[int, list[Any]]] = {}
        failed: BaseException | None = None
        number, turn, more = 0, 0, True
        while True:
            idle = [pipe for pipe in self.processes if pipe not in sent]
            while more and idle and len(done) + len(sent) < BUFFERED * len(self.processes):
                try:
                    items = next(pieces, None)
                except Exception as error:
                    failed, items = error, None
                if items is None:
                    more = False
                    break
                pipe = idle.pop()
                sent[pipe] = (number, items)
                number += 1
                with contextlib.suppress(OSError):  # it died: receiving says so
                    pipe.send(items)
            if turn in done:
                yield done.pop(turn)
                turn += 1
            elif sent:
                for pipe in multiprocessing.connection.wait(list(sent)):
                    place, items = sent.pop(pipe)
                    done[place] = (items, self._received(pipe))
            elif failed is not None:
                raise failed
            elif not more:
                return
            else:  # no process is left
                yield from ((items, None) for items in pieces)
                return

    def _received(self, pipe: Any) -> Piece | None:
        try:
            return pipe.recv()  # type: ignore[no-any-return]
        except (EOFError, OSError):
            status = self.processes[pipe].wait()
            self._drop(pipe)
            print(f"data     a process that tokenises ended with status {status}; the others go on", flush=True)
            return None

    def close(self) -> None:
        """End all processes."""
        for pipe in list(self.processes):
            self._drop(pipe)


def _start(file: int) -> Any:
    """A process that serves on an open pipe."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", f"from mtjax.data.workers import serve; serve({file})"],
        pass_fds=[file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | paths | {"RAYON_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"},
    )


def _written(work: Work) -> bytes:
    """How records become examples, for another process; an error where it cannot be said."""
    tokenizer = work.tokenizer
    if type(tokenizer.encode) is not Encoder or type(tokenizer.decode) is not Decoder:
        raise TypeError("the tokenizer has functions of its own")
    plain = {name: getattr(tokenizer, name) for name in ("pad_id", "bos_id", "end_id", "end_ids", "unknown_id")}
    names = {name: kind.__qualname__ for name, kind in FORMATS.items()}
    return pickle.dumps((names, work._replace(tokenizer=None), tokenizer.name, plain, tokenizer.identity))


def serve(file: int) -> None:
    """The work of a process on an open pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    with multiprocessing.connection.Connection(file) as pipe, contextlib.suppress(EOFError, OSError):
        answer(pipe)


def answer(pipe: Any) -> None:
    """Read what `_written` gives from a pipe, then pieces of records, and send what is made of each; EOFError ends it.

    What raises an error is made again, and the error raised, by the process that sent it.
    """
    try:
        names, work, name, plain, identity = pickle.loads(pipe.recv_bytes())
        work = work._replace(tokenizer=load_tokenizer(name)._replace(**plain))
        if work.tokenizer.identity != identity:
            raise ValueError(f"the tokenizer {name!r} is another one there")
        if names != {name: kind.__qualname__ for name, kind in FORMATS.items()}:
            raise ValueError("formats are registered that are not there")
    except EOFError:
        raise
    except Exception as error:
        pipe.send(f"cannot be read by other processes ({error!r:.120})")
        return
    pipe.send("")
    while True:
        items = pipe.recv()
        try:
            piece = make_piece(work, items)
        except Exception:
            piece = None
        pipe.send(piece)
