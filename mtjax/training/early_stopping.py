"""The best measurement of a run so far, and the stop of a run whose measurements no longer improve."""

import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge

from mtjax.errors import InputError, suggest
from mtjax.validation import PositiveInt, check_types

LOSS = "held_out_loss"
GOALS = {"lower": r"loss$|^nll|^unlikelihood", "higher": r"accuracy|^pass@\d+$|margin|^top1$|^logprob_(chosen|right)$"}
"""Which way a metric improves, by its name without the part up to the last slash."""


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """End a run after `patience` measurements in a row without an improvement of a metric.

    The run then counts as finished, and its best checkpoint is the best by this metric, which is also what is exported.
    The decision depends on the logged measurements alone, so a resumed run makes the same one.
    """

    metric: str = LOSS
    """As logged: `held_out_loss`, `held_out/NAME` for a metric of the objective, or `coverage/pass@1`."""
    patience: PositiveInt = 3  # Measurements in a row without an improvement.
    least_change: Annotated[float, Ge(0)] = 0.0  # An improvement is larger than this.
    goal: Literal["auto", "lower", "higher"] = "auto"  # Which way it improves; `auto` knows losses, accuracies, pass@k.

    def __post_init__(self) -> None:
        check_types(self, "early_stopping")

    def check(self, known: Collection[str]) -> None:
        """InputError for a metric that is not among those that the run will measure, or whose goal is not known."""
        if not known:
            raise InputError("early_stopping needs a measurement: set held_out or coverage, or early_stopping to None")
        if self.metric not in known:
            raise InputError(f"early_stopping.metric={self.metric!r} is not measured; {suggest(self.metric, known)}")
        if self._goal() is None:
            raise InputError(
                f"early_stopping.metric={self.metric!r}: which way it improves is not known; set "
                "--early_stopping.goal=lower or higher"
            )

    def _goal(self) -> str | None:
        if self.goal != "auto":
            return self.goal
        name = self.metric.rpartition("/")[2]
        return next((goal for goal, pattern in GOALS.items() if re.search(pattern, name)), None)

    def gain(self, value: float, over: float) -> float:
        """By how much `value` is better."""
        return over - value if self._goal() == "lower" else value - over


class BestSoFar:
    """The best measurement by the metric of `settings`, or by the held-out loss where they are None.

    `lines` are the measurements that are in the log already (`measured`).
    """

    def __init__(self, settings: EarlyStopping | None, lines: Iterable[tuple[int, float]] = ()):
        self.settings, self.stops = settings or EarlyStopping(), settings is not None
        self.best: tuple[int, float] | None = None  # step and value, of steps that trained
        self.mark: tuple[int, float] | None = None  # the last improvement, the start included
        self.waited = 0  # measurements since
        for step, value in lines:
            self._see(step, value)

    @property
    def metric(self) -> str:
        """Name of the measurement that decides."""
        return self.settings.metric

    def see(self, step: int, values: Mapping[str, Any]) -> bool:
        """Whether these values of a step are the best so far.

        Raises InputError where the metric of early stopping is absent before the first step.
        """
        value = values.get(self.settings.metric)
        if value is None and self.stops and step == 0:
            raise InputError(
                f"early_stopping.metric={self.settings.metric!r}: nothing in the held-out data has it; choose another"
            )
        return value is not None and self._see(step, float(value))

    def _see(self, step: int, value: float) -> bool:
        better = lambda than, by: not math.isnan(value) and (than is None or self.settings.gain(value, than[1]) > by)
        self.waited += 1
        if better(self.mark, self.settings.least_change):
            self.mark, self.waited = (step, value), 0
        if step > 0 and better(self.best, 0):
            self.best = (step, value)
            return True
        return False

    @property
    def ended(self) -> str:
        """Why the run ends here; "" while it goes on."""
        if not self.stops or self.waited < self.settings.patience:
            return ""
        since = "" if self.mark is None else f" since {self.mark[1]:.4g} at step {self.mark[0]}"
        return f"{self.settings.metric} has not improved in {self.waited} measurements{since}"


def measured(lines: Iterable[Mapping[str, Any]], metric: str) -> list[tuple[int, float]]:
    """Step and value of the metric in each logged line that has it."""
    return [(int(line["step"]), float(line[metric])) for line in lines if metric in line]
