"""Percentile bootstrap over problems: how sure a mean, a ratio or a difference of two arms is."""

from typing import NamedTuple

import numpy as np

from mtjax.errors import InputError

BLOCK = 2_000_000
"""Drawn indices held at once: 16 MB, however many resamples and problems there are."""


class Interval(NamedTuple):
    """An estimate and its bootstrap interval.

    Attributes:
        mean: the statistic on the data themselves.
        low: lower end of the interval; `low <= high`, and `mean` nearly always lies between.
        high: upper end.
        level: how much of the resampled statistic lies inside, for example 0.95.
    """

    mean: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        """`0.312 [0.280, 0.345]`."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(
    values: np.ndarray | list[float], *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """The mean over problems with its percentile bootstrap interval.

    Formula: draw N problems with replacement `resamples` times, take the mean m* of each draw; the interval runs from
    the (1 - level)/2 to the (1 + level)/2 quantile of m*. For large N it is `mean +- z sd / sqrt(N)`.

    Shapes: `values` is `[N]`, one number a problem; or `[S, N]`, S training seeds on the same N problems, averaged over
    seeds first. The interval then speaks of other problems, not of other seeds: show the seeds beside it.

    Raises InputError for no values, values that are not finite, a level outside (0, 1) or no resamples.

    >>> mean_interval([0.0, 1.0, 1.0, 1.0], level=0.8)
    Interval(mean=0.75, low=0.5, high=1.0, level=0.8)

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    values = _per_problem(values, "values")
    return ratio_interval(values, np.ones_like(values), level=level, resamples=resamples, seed=seed)


def ratio_interval(
    totals: np.ndarray | list[float],
    counts: np.ndarray | list[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """`sum totals / sum counts` over problems with its percentile bootstrap interval; nats per token, for example.

    A problem is drawn whole, with its total and its count, so long answers weigh what they weigh in the estimate.

    Shapes: both `[N]`, or `[S, N]` as in `mean_interval`. Raises InputError as there, and where lengths differ, a count
    is negative or all counts are 0.
    """
    totals, counts = _per_problem(totals, "totals"), _per_problem(counts, "counts")
    if totals.shape != counts.shape:
        raise InputError(f"totals and counts have lengths {totals.size} and {counts.size}: give one of each a problem")
    if counts.min() < 0 or counts.sum() == 0:
        raise InputError(f"counts must be >= 0 and not all 0; got sum {counts.sum():g} and least {counts.min():g}")
    if not 0 < level < 1:
        raise InputError(f"level={level}: expected a share between 0 and 1, such as 0.95")
    if resamples < 1:
        raise InputError(f"resamples={resamples}: expected at least 1; 10000 gives stable ends")
    draws = np.concatenate([_draw(totals, counts, rng, size) for rng, size in _blocks(seed, resamples, totals.size)])
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(totals.sum() / counts.sum()), float(low), float(high), level)


def difference_interval(
    ours: np.ndarray | list[float],
    theirs: np.ndarray | list[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """`mean(ours) - mean(theirs)` on the same problems with its paired bootstrap interval.

    Formula: the bootstrap of `mean_interval` on `d_i = ours_i - theirs_i`. Both arms meet every drawn problem, so what
    makes a problem hard for both cancels: far tighter than two separate intervals. An interval that leaves out 0 is a
    difference at that level.

    Shapes: `[N]` or `[S, N]` each (the numbers of seeds may differ), the same N problems in the same order. Raises
    InputError as `mean_interval` does, and where N differs.

    Source: Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004, section 4.
    """
    ours, theirs = _per_problem(ours, "ours"), _per_problem(theirs, "theirs")
    if ours.shape != theirs.shape:
        raise InputError(f"paired arms need the same problems; got {ours.size} and {theirs.size}")
    return mean_interval(ours - theirs, level=level, resamples=resamples, seed=seed)


def _per_problem(values: np.ndarray | list[float], name: str) -> np.ndarray:
    """`[N]` float64, averaged over seeds where there is a seed axis; checked."""
    array = np.asarray(values, np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"{name} of shape {array.shape}: expected (problems,) or (seeds, problems), and some of each")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds {int((~np.isfinite(array)).sum())} numbers that are not finite; leave them out")
    return array.mean(axis=0) if array.ndim == 2 else array


def _blocks(seed: int, resamples: int, problems: int) -> list[tuple[np.random.Generator, int]]:
    """Generators and numbers of draws that keep the index array within BLOCK."""
    rng, block = np.random.default_rng(seed), max(1, BLOCK // problems)
    return [(rng, min(block, resamples - start)) for start in range(0, resamples, block)]


def _draw(totals: np.ndarray, counts: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """`[size]` resampled ratios; NaN where a draw has no count."""
    index = rng.integers(0, totals.size, (size, totals.size))
    below = counts[index].sum(axis=1)
    return np.divide(totals[index].sum(axis=1), below, out=np.full(size, np.nan), where=below > 0)
