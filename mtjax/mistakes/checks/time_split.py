"""Accuracy by the month in which problems were published: a fall may be the end of what a model has seen."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Gt, Lt
from jaxtyping import Float

from mtjax.io.hashing import random_order
from mtjax.mistakes.checks.base import CHECKS, Check, Found, Need, Subject
from mtjax.reporting.intervals import mean_interval
from mtjax.reporting.report import Table
from mtjax.validation import PositiveInt


class Break(NamedTuple):
    """The month from which on accuracy is lower."""

    month: str  # the first of the later part
    before: float  # accuracy before it
    after: float  # accuracy from it on
    p_value: float  # share of orders of the problems, drawn at random, with a fall as clear as this one


def find_break(
    months: Sequence[str], correct: Float[np.ndarray, " N"], *, least: int = 10, trials: int = 999, seed: int = 0
) -> Break | None:
    """The clearest fall of accuracy between two months; None without two months of enough problems around them.

    Formula: of all splits with at least `least` problems on each side, that with the largest fall `z = (a - b) /
    sqrt(s^2 (1/n + 1/m))`; a and b are the accuracies before and after, of n and m problems, and s^2 is the variance.
    Its p-value compares it with the largest z of permuted problems, which allows for the choice of the split.
    """
    order = np.argsort(np.asarray(months), kind="stable")
    sorted_months, values = np.asarray(months)[order], np.asarray(correct, np.float64)[order]
    starts = np.flatnonzero(sorted_months[1:] != sorted_months[:-1]) + 1
    starts = starts[(starts >= least) & (len(values) - starts >= least)]
    variance = values.var()
    if not len(starts) or variance == 0:
        return None
    after = len(values) - starts

    def clearest(x: np.ndarray) -> tuple[float, int]:
        total = np.cumsum(x)
        fall = total[starts - 1] / starts - (total[-1] - total[starts - 1]) / after
        z = fall / np.sqrt(variance * (1 / starts + 1 / after))
        return float(z.max()), int(z.argmax())

    z, best = clearest(values)
    beyond = sum(clearest(values[random_order(len(values), seed, n)])[0] >= z - 1e-12 for n in range(trials))
    at = int(starts[best])
    return Break(
        str(sorted_months[at]), float(values[:at].mean()), float(values[at:].mean()), (beyond + 1) / (trials + 1)
    )


@CHECKS.register("time_split")
@dataclasses.dataclass(frozen=True)
class TimeSplit(Check):
    """How often a model was right by the month of publication, the slope, and the clearest fall.

    Needs mined solutions, whose problems have a share of right samples, and `--dates`. A fall that is not by chance
    says that older problems were in the model's training data, or that newer ones are harder; two models with different
    dates of their data tell the two apart.

    Source: Mahdavi et al., "Leveraging Online Olympiad-Level Math Problems", 2025 (arXiv 2501.14275).
    """

    needs: ClassVar[tuple[Need, ...]] = ("dates",)

    least: PositiveInt = 10  # Fewest problems on each side of a fall.
    level: Annotated[float, Gt(0), Lt(1)] = 0.95  # Of the intervals.

    def __call__(self, subject: Subject) -> Found:
        assert subject.dates is not None
        found = [
            (match[0], problem.success_rate)
            for number, problem in enumerate(subject.read())
            if problem.success_rate is not None and (match := re.match(r"\d{4}-\d{2}", subject.dates.get(number, "")))
        ]
        if len({month for month, _ in found}) < 2:
            return Found(skipped="fewer than two months have problems with a date and a share of right samples")
        months, correct = [month for month, _ in found], np.array([rate for _, rate in found], np.float64)
        names = sorted(set(months))
        rows: list[list[Any]] = []
        for name in names:
            own = correct[np.asarray(months) == name]
            rows.append([name, len(own), mean_interval(own, level=self.level, seed=subject.seed)])
        numbers = np.array([int(month[:4]) * 12 + int(month[5:7]) for month in months], np.float64)
        slope = float(np.polyfit(numbers, correct, 1)[0])
        facts = [f"Accuracy changes by {slope:+.4f} a month (least squares over {len(found):,} problems)."]
        if fall := find_break(months, correct, least=self.least, seed=subject.seed):
            facts.append(
                f"The clearest fall is at {fall.month}, from {fall.before:.3f} to {fall.after:.3f} "
                f"(p = {fall.p_value:.3f} by permutation)."
            )
        return Found((), facts, (Table(("month", "problems", "right"), rows),))
