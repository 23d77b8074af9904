"""Where the time of a run went: the share that its steps had, and what the rest was spent on."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KINDS = ("starting", "compiling", "saving", "measuring", "waiting for data")
"""What is told beside the steps and the rest, in this order."""


class Goodput:
    """Adds up seconds by kind from when it is made.

    "steps" is the time in which the host starts steps and waits for their numbers. The first step of a process is
    "compiling": its program is compiled, or read from the cache, and its numbers are waited for, which many hosts have
    when the slowest has compiled. Work that was lost is that of earlier starts of the run: steps that were logged after
    the checkpoint which this one goes on from, and are done again.
    """

    def __init__(self) -> None:
        self.began, self.spent = time.perf_counter(), defaultdict[str, float](float)
        self.lost_steps, self.lost_seconds, self.compiled = 0, 0.0, False

    @contextlib.contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Count what is inside as `kind`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent[kind] += time.perf_counter() - began

    def started(self) -> None:
        """Before the first step: what was not counted so far is "starting", such as loading, checks and a restore."""
        self.spent["starting"] = time.perf_counter() - self.began - sum(self.spent.values())

    def step(self) -> contextlib.AbstractContextManager[None]:
        """Count what is inside as the start of a step: compiling for the first one."""
        kind, self.compiled = "steps" if self.compiled else "compiling", True
        return self.of(kind)

    def lose(self, later: Sequence[Mapping[str, Any]], first: int) -> None:
        """An earlier start has logged these lines of steps after `first`, from which this one goes on."""
        if later:
            self.lost_steps = int(later[-1]["step"]) - first
            times = [line["time/step"] for line in later if "time/step" in line]
            self.lost_seconds = self.lost_steps * sum(times) / len(times) if times else 0.0

    def __str__(self) -> str:
        """The line at the end of a run.

        >>> found = Goodput()
        >>> found.began = time.perf_counter() - 100
        >>> found.spent.update({"steps": 80.0, "compiling": 12.0})
        >>> str(found)
        'goodput  80.0% of 100 s in steps; compiling 12.0 s, the rest 8.0 s'
        """
        total = time.perf_counter() - self.began
        parts = [f"{kind} {self.spent[kind]:.1f} s" for kind in KINDS if self.spent[kind] >= 0.05]
        rest = max(total - sum(self.spent.values()), 0)
        told = [*parts, f"the rest {rest:.1f} s"]
        lost = ""
        if self.lost_steps:
            lost = f"; {self.lost_steps} steps ({self.lost_seconds:.1f} s) of an earlier start were lost"
        return f"goodput  {self.spent['steps'] / total:.1%} of {total:.0f} s in steps; {', '.join(told)}{lost}"
