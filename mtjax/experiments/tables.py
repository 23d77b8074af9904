"""Graded samples to numbers with intervals, and intervals to words."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mtjax.evaluation.coverage import CoverageRow, maj_at_k, pass_at_k
from mtjax.experiments.results import Measured
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval

NO_DIFFERENCE = "not significantly different from"
"""A difference whose interval includes 0, in words."""


def passes(right: np.ndarray, k: int) -> Float[np.ndarray, " N"]:
    """pass@k of each problem, from `[N, n]` grades."""
    return np.asarray(pass_at_k(right.shape[1], right.sum(axis=1), k))


def pass_from_counts(right: Sequence[int] | np.ndarray, samples: int, k: int) -> Float[np.ndarray, " N"]:
    """pass@k of each problem, from the numbers of right ones among `samples`, `[N]`."""
    return np.asarray(pass_at_k(samples, np.asarray(right), k))


def votes(measured: Measured, k: int) -> Float[np.ndarray, " N"]:
    """maj@k of each problem."""
    return np.array([maj_at_k(a, right, k) for a, right in zip(measured.answers, measured.right, strict=True)])


def stacked_passes(runs: Sequence[Measured], k: int) -> Float[np.ndarray, "S N"]:
    """pass@k of each seed and problem."""
    return np.stack([passes(run.right, k) for run in runs])


def rows_of(runs: Sequence[Measured], ks: Sequence[int]) -> list[CoverageRow]:
    """pass@k and maj@k for each k: mean over seeds and problems, bootstrap interval over problems."""
    each_vote = lambda k: np.stack([votes(run, k) for run in runs])
    return [CoverageRow(k, mean_interval(stacked_passes(runs, k)), mean_interval(each_vote(k))) for k in ks]


def gain(ours: Sequence[Measured], theirs: Sequence[Measured], k: int) -> Interval:
    """Difference in pass@k on the same problems, paired bootstrap over problems."""
    return difference_interval(stacked_passes(ours, k), stacked_passes(theirs, k))


def clear(interval: Interval) -> bool:
    """Whether the interval excludes 0."""
    return interval.low > 0 or interval.high < 0


def higher_or_lower(interval: Interval) -> str:
    """An interval of differences in words: "higher than", "lower than" or "not significantly different from".

    >>> higher_or_lower(Interval(0.1, -0.1, 0.3, 0.95))
    'not significantly different from'
    """
    return ("higher than" if interval.low > 0 else "lower than") if clear(interval) else NO_DIFFERENCE


def rose_or_fell(interval: Interval) -> str:
    """An interval of changes in words: "rose", "fell" or "did not change significantly"."""
    return ("rose" if interval.low > 0 else "fell") if clear(interval) else "did not change significantly"


def passes_by_k(arms: Mapping[str, Sequence[CoverageRow]]) -> dict[str, dict[int, Interval]]:
    """The interval of pass@k for each k, by the name of the arm; the input of `plots.coverage_plot`."""
    return {arm: {row.k: row.pass_at_k for row in rows} for arm, rows in arms.items()}


def seed_means(runs: Sequence[Measured], k: int) -> dict[str, list[float]]:
    """Each seed's own means."""
    return {
        "pass@1": [float(passes(run.right, 1).mean()) for run in runs],
        f"pass@{k}": [float(passes(run.right, k).mean()) for run in runs],
        f"maj@{k}": [float(votes(run, k).mean()) for run in runs],
    }


def ends_of(rows: Sequence[CoverageRow]) -> dict[str, Interval]:
    """The intervals of the smallest and the largest k, by name."""
    last = rows[-1]
    return {"pass@1": rows[0].pass_at_k, f"pass@{last.k}": last.pass_at_k, f"maj@{last.k}": last.maj_at_k}
