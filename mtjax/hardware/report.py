"""The report of a hardware check: its lines as they come, the file that is always complete, and the verdict."""

import contextlib
import datetime
import json
import math
import os
import pathlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mtjax.errors import ExitCode
from mtjax.io.files import write_text

State = Literal["pass", "FAIL", "info", "n/a", "skip"]
"""`info` is a number without a bound, `n/a` what this machine cannot show, `skip` what was not run. Only the first is
a pass."""


class Line(NamedTuple):
    """One result: a number with what it had to keep to."""

    check: str  # the check that it belongs to, such as "attention"
    what: str
    state: State
    number: float | None = None
    unit: str = ""
    bound: float | None = None  # the number must not be above it, or below it where `at_least`
    at_least: bool = False
    text: str = ""  # why, where there is no number


def judged(
    check: str, what: str, number: float, bound: float, unit: str = "", *, at_least: bool = False, text: str = ""
) -> Line:
    """A line that passes where the number keeps to the bound; NaN keeps to none."""
    kept = number >= bound if at_least else number <= bound
    return Line(check, what, "pass" if kept else "FAIL", number, unit, bound, at_least, text)


def measured(check: str, what: str, number: float, unit: str = "", text: str = "") -> Line:
    """A line with a number and no bound."""
    return Line(check, what, "info", number, unit, text=text)


def worst(errors: Iterable[float]) -> float:
    """The largest of some errors; NaN where one is NaN, which Python's `max` would pass over.

    >>> worst([0.1, float("nan"), 0.2])
    nan
    """
    return float(np.max(list(errors)))


Checks = Sequence[tuple[str, Callable[[], Iterator[Line]]]]
"""Checks by name, in their order; each yields its lines one by one."""


VERDICTS = {"FAILED": ExitCode.CHECK_FAILED, "INCOMPLETE": ExitCode.INCOMPLETE, "passed": ExitCode.DONE}


class Report:
    """Runs checks until the time is over.

    A check that raises, or gives no line, is a failed line. When the time is over, the rest is skipped; a check that is
    then still running is skipped too, and the process ends from a thread, with the report written.

    Args:
        seconds: for all of it; None is no limit.
        file: written anew after every line.
        about: what to put in front: date, command, versions.
    """

    def __init__(self, seconds: float | None, file: pathlib.Path | None, about: dict[str, Any]):
        self.began, self.seconds, self.file, self.about = time.monotonic(), seconds, file, about
        self.lines: list[Line] = []
        self.left: list[str] = []  # checks that have not ended
        self.lock, self.over = threading.RLock(), False

    def run(self, checks: Checks) -> ExitCode:
        """Run them; returns 0, `CHECK_FAILED` where one failed, `INCOMPLETE` where one was skipped or none passed."""
        self.left = [name for name, _ in checks]
        watch = None
        if self.seconds is not None:
            watch = threading.Timer(self.seconds, self._stop)
            watch.daemon = True
            watch.start()
        spent = self.about["seconds of each check"] = dict[str, float]()
        for name, check in checks:
            began, before = time.monotonic(), len(self.lines)
            try:
                for line in check():
                    self.add(line)
                if len(self.lines) == before:
                    raise RuntimeError("it gave no line")
            except Exception as error:  # whatever the hardware or its compiler raises
                self.add(Line(name, "runs to its end", "FAIL", text=f"{type(error).__name__}: {first_line(error)}"))
            with self.lock:
                self.left.remove(name)
                spent[name] = round(time.monotonic() - began, 1)
        if watch is not None:
            watch.cancel()
        return self.finish()

    def add(self, line: Line) -> None:
        """Print and keep a line."""
        with self.lock:
            if self.over:
                return
            self.lines.append(line)
            print(show(line), flush=True)
            self._write()

    def finish(self) -> ExitCode:
        """Print how many lines passed, failed and were skipped; the exit code. Nothing passed is no pass."""
        with self.lock:
            self.over = True
            seen = Counter(line.state for line in self.lines)
            failed, skipped = seen["FAIL"], seen["skip"]
            parts = [f"{seen['pass']} passed", f"{failed} failed", f"{skipped} skipped"]
            parts += [f"{seen['n/a']} not possible here", f"{seen['info']} measured without a bound"]
            seconds = time.monotonic() - self.began
            verdict = "FAILED" if failed else "passed" if seen["pass"] and not skipped else "INCOMPLETE"
            if left_out := self.about.get("left out"):
                parts.append(f"{len(left_out)} checks left out by --only")
            print(f"\n{verdict}: {', '.join(parts)}; {seconds:.0f} s", flush=True)
            self.about |= {"verdict": verdict, "seconds": round(seconds, 1)}
            self._write()
            return VERDICTS[verdict]

    def _stop(self) -> None:
        """The time is over: what has not ended is skipped, and the process ends, whatever its main thread does."""
        with self.lock:
            if not self.left:
                return
            for number, name in enumerate(self.left):
                why = "still running when the time was over" if number == 0 else "no time was left"
                self.add(Line(name, "not complete", "skip", text=why))
            code = self.finish()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)

    def _write(self) -> None:
        if self.file is not None:
            lines = [{k: v for k, v in line._asdict().items() if v not in (None, "")} for line in self.lines]
            write_text(self.file, json.dumps(self.about | {"lines": lines}, indent=1, allow_nan=True) + "\n")


def show(line: Line) -> str:
    """A line as text.

    >>> show(judged("attention", "splash float32, forward", 2e-6, 1e-5))
    'pass  attention    splash float32, forward: 2e-06 (at most 1e-05)'
    """
    said = ""
    if line.number is not None:
        said = f": {_number(line.number)}{' ' + line.unit if line.unit else ''}"
        if line.bound is not None:
            said += f" (at {'least' if line.at_least else 'most'} {_number(line.bound)})"
    said += f"{'; ' if line.number is not None else ': '}{line.text}" if line.text else ""
    return f"{line.state:<5} {line.check:<12} {line.what}{said}"


def _number(value: float) -> str:
    if value != 0 and math.isfinite(value) and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, shortened."""
    return (str(error).strip().splitlines() or [""])[0][:300]


def today() -> str:
    """The date, of UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
