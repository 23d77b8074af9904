"""What every contender speaks: it reads a line, does one lap of work, and writes what the lap cost. No dependencies.

`PEERS_STARTED` is the time at which the process was started, in seconds since the epoch.
"""

import json
import os
import resource
import sys
import time

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a library prints goes to stderr


def cpu() -> float:
    """CPU seconds of the process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(**values) -> None:
    """Write one JSON object in a line."""
    OUT.write(json.dumps(values) + "\n")
    OUT.flush()


class Laps:
    """Laps of a contender: `wait()` before each, `done(tokens, items)` after it, with everything computed."""

    def __init__(self, **about):
        self.about, self.first = about, True

    def wait(self) -> None:
        """Until the next lap may begin; ends the process when there is none. The first lap is not waited for."""
        if not self.first and not sys.stdin.readline():
            tell(peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            os._exit(0)
        if self.first:
            self.about["first_step_begins"] = time.time() - float(os.environ["PEERS_STARTED"])
        self.wall, self.cpu = time.perf_counter(), cpu()

    def done(self, tokens: int, items: int) -> None:
        """The lap is over: real tokens, and examples or pairs, that it computed."""
        if self.first:
            started = float(os.environ["PEERS_STARTED"])
            tell(first_step_seconds=time.time() - started, first_step_cpu=cpu(), **self.about)
            self.first = False
            return
        tell(wall=time.perf_counter() - self.wall, cpu=cpu() - self.cpu, tokens=tokens, items=items)
