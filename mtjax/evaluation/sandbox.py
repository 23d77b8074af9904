"""Programs of a model, run where they can do no harm: a process of their own without network, files and time.

The process gives up its rights before it reads the program (`sandboxed`): user, network, process and mount namespaces
of its own, Landlock for files, limits of memory, time, processes and file sizes, no environment, and the user nobody if
it was started by root. It can read what Python needs and its own empty folder, and write there alone. When its time is
over, its whole process namespace ends with it.

A program can still deceive the tests that it runs with: a class whose `__eq__` always agrees passes `assert f(1) == 2`.
"""

import dataclasses
import functools
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt

from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types

CHILD = pathlib.Path(__file__).with_name("sandboxed.py")
START = 5.0  # Seconds beside its own that a process may take to start and to end, on a busy machine.
MOST = 1 << 20  # Bytes of an answer that are read.


class Ran(NamedTuple):
    """What came of a program."""

    outcome: Literal["done", "error", "timeout", "killed"]
    """done: it ran to its end; error: an exception; timeout: it took too long; killed: it ended without an answer, as
    by `os._exit` or at a limit."""
    error: str = ""  # the kind and line of an exception
    passed: tuple[bool, ...] = ()  # whether each test passed
    answer: str | None = None  # the variable that was asked for, as Python writes it
    states: tuple[tuple[str, ...], ...] = ()  # the values of all variables after each statement, sorted
    statements: tuple[str, ...] = ()  # the statements that ran, in one canonical form without comments
    answers: tuple[str | None, ...] = ()  # the variable that was asked for after each; None while it is not there


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Where and for how long programs may run."""

    seconds: PositiveInt = 5  # Seconds that a program may run, and of processor time.
    memory_mb: Annotated[int, Ge(64)] = 512  # Megabytes of address space.
    processes: PositiveInt = 8  # Processes and threads that a program may have, its own included.
    file_mb: Annotated[float, Gt(0)] = 16.0  # Megabytes of the largest file.
    weaker: bool = False
    """Run programs where the system allows no namespaces or no Landlock too: with limits and without environment, but
    with the network and files of this user. For programs that you trust."""

    def __post_init__(self) -> None:
        check_types(self, "sandbox")

    def tests(self, code: str, tests: Sequence[str]) -> Ran:
        """Run a program, and each test after it; a test passes if it raises nothing."""
        return self._run({"kind": "tests", "code": code, "tests": list(tests)})

    def answer(self, code: str, variable: str = "answer") -> Ran:
        """Run a program and read a variable."""
        return self._run({"kind": "answer", "code": code, "variable": variable})

    def trace(self, code: str, variable: str = "answer") -> Ran:
        """Run a program statement by statement; the state after each is the sorted values of all variables.

        Names do not count, so that renaming changes nothing. Functions, classes and modules are left out. Of a program
        that fails, what ran before is given.
        """
        return self._run({"kind": "trace", "code": code, "variable": variable})

    def _run(self, asked: dict[str, Any]) -> Ran:
        if (missing := unavailable()) and not self.weaker:
            raise InputError(
                f"programs cannot be kept apart on this system: {'; '.join(missing)}. Run where Linux allows user "
                "namespaces and Landlock (5.13 or newer), or trust the programs and set sandbox.weaker=True"
            )
        limits = {"seconds": self.seconds, "memory": self.memory_mb << 20, "processes": self.processes}
        limits |= {"file_bytes": int(self.file_mb * 2**20), "weaker": self.weaker}
        found, late = _start(asked | limits, self.seconds)
        if found is None:
            return Ran("timeout" if late else "killed")
        if "timeout" in found:
            return Ran("timeout")
        states = tuple(tuple(state) for state in found.get("states", ()))
        traced = (states, tuple(found.get("statements", ())), tuple(found.get("answers", ())))
        if "error" in found:
            return Ran("error", found["error"], (), None, *traced)
        return Ran("done", "", tuple(found.get("passed", ())), found.get("answer"), *traced)


@functools.cache
def unavailable() -> tuple[str, ...]:
    """What this system does not allow to keep apart, with its reasons; () where a program can be kept apart."""
    if sys.platform != "linux":
        return (f"{sys.platform} has neither namespaces nor Landlock",)
    found, _ = _start({"kind": "probe", "weaker": False}, START)
    return ("the process did not start",) if found is None else tuple(found["missing"])


def _start(asked: dict[str, Any], seconds: int | float) -> tuple[dict[str, Any] | None, bool]:
    """The answer of a process, and whether it took too long; None without an answer."""
    word, base = secrets.token_hex(16), tempfile.mkdtemp(prefix="mtjax-sandbox-")
    folder, place = os.path.join(base, "work"), os.path.join(base, "library")
    try:
        for made, mode in ((base, 0o711), (folder, 0o777), (place, 0o755)):  # the user nobody must reach them
            os.makedirs(made, exist_ok=True)
            os.chmod(made, mode)
        library = os.path.realpath(sysconfig.get_path("stdlib"))
        asked = asked | {"word": word, "folder": folder, "library": library, "place": place}
        asked |= {"readable": [library, *filter(os.path.exists, ("/usr/lib", "/lib", "/lib64"))]}
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"}, cwd=folder, start_new_session=True,
        )  # fmt: skip
        late = False
        try:
            said, _ = process.communicate((json.dumps(asked) + "\n").encode(), timeout=seconds + START)
        except subprocess.TimeoutExpired:
            late, said = True, b""
        finally:
            _end(process)
        answers = [line for line in said[:MOST].decode(errors="replace").splitlines() if line.startswith(word)]
        return (json.loads(answers[-1].removeprefix(word)) if answers else None), late
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its group; its namespace ends with its first process, which dies with its parent."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
