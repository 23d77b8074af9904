"""From checked samples to numbers with intervals, and from intervals to words."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mtjax.evaluation.coverage import CoverageRow, maj_at_k, pass_at_k
from mtjax.experiments.results import Measured
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval


def passes(right: np.ndarray, k: int) -> Float[np.ndarray, " N"]:
    """pass@k of each problem, from `[N, n]` verdicts."""
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
    """Whether the interval leaves out 0."""
    return interval.low > 0 or interval.high < 0


def better_or_worse(interval: Interval) -> str:
    """What an interval of differences says: "better than", "worse than" or "not to be told from".

    >>> better_or_worse(Interval(0.1, -0.1, 0.3, 0.95))
    'not to be told from'
    """
    return ("better than" if interval.low > 0 else "worse than") if clear(interval) else "not to be told from"


def rose_or_fell(interval: Interval) -> str:
    """What an interval of changes says: "rose", "fell" or "did not clearly change"."""
    return ("rose" if interval.low > 0 else "fell") if clear(interval) else "did not clearly change"


def passes_by_k(arms: Mapping[str, Sequence[CoverageRow]]) -> dict[str, dict[int, Interval]]:
    """The interval of pass@k for each k, by the name of the arm: what `plots.coverage_plot` draws."""
    return {arm: {row.k: row.pass_at_k for row in rows} for arm, rows in arms.items()}
