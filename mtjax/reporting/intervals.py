"""Percentile bootstrap intervals over problems: of a mean, a ratio, or a paired difference of two models."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mtjax.errors import InputError

BLOCK = 2_000_000
"""Most resampled indices held at once: 16 MB, however many resamples and problems there are."""

Values = np.ndarray | list[float]
"""One number per problem, `[N]`, or per training seed and problem, `[S, N]`, which is averaged over seeds first."""


class Interval(NamedTuple):
    """An estimate and its bootstrap interval."""

    mean: float  # the statistic of the data; nearly always between the ends
    low: float  # lower end
    high: float  # upper end
    level: float  # share of the resampled statistics between the ends, for example 0.95

    def __str__(self) -> str:
        """`0.312 [0.280, 0.345]`."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(values: Values, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean over problems with its percentile bootstrap interval.

    Formula: draw N problems with replacement `resamples` times and take the mean m* of each draw; the interval runs
    from the (1 - level)/2 to the (1 + level)/2 quantile of m*. For large N it is `mean +- z sd / sqrt(N)`. It describes
    the variation over problems, not over training seeds: report the seeds beside it. Raises InputError for no values,
    values that are not finite, a level outside (0, 1) or no resamples.

    >>> mean_interval([0.0, 1.0, 1.0, 1.0], level=0.8)
    Interval(mean=0.75, low=0.5, high=1.0, level=0.8)

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    """
    return _bootstrap(np.mean, (_per_problem(values, "values"),), level, resamples, seed)


def ratio_interval(
    totals: Values, counts: Values, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """`sum totals / sum counts` over problems with its percentile bootstrap interval; nats per token, for example.

    A problem is drawn with its total and its count, so long answers have the weight that they have in the estimate.
    Raises InputError as `mean_interval` does, and where lengths differ, a count is negative or all counts are 0.
    """
    totals, counts = _per_problem(totals, "totals"), _per_problem(counts, "counts")
    if totals.shape != counts.shape:
        raise InputError(f"totals and counts have lengths {totals.size} and {counts.size}: give one of each a problem")
    if counts.min() < 0 or counts.sum() == 0:
        raise InputError(f"counts must be >= 0 and not all 0; got sum {counts.sum():g} and least {counts.min():g}")

    def ratio(totals: np.ndarray, counts: np.ndarray, axis: int) -> Any:  # NaN where a resample has no count
        below = counts.sum(axis=axis)
        return np.divide(totals.sum(axis=axis), below, out=np.full(np.shape(below), np.nan), where=below > 0)

    return _bootstrap(ratio, (totals, counts), level, resamples, seed)


def difference_interval(
    ours: Values, theirs: Values, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """`mean(ours) - mean(theirs)` on the same problems, in the same order, with its paired bootstrap interval.

    Formula: the bootstrap of `mean_interval` on `d_i = ours_i - theirs_i`. Both models get the same resampled problems,
    so the difficulty that they share cancels, and the interval is much narrower than two separate ones. An interval
    without 0 is a significant difference at that level. Numbers of seeds may differ. Raises InputError as
    `mean_interval` does, and where N differs.

    Source: Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004, section 4.
    """
    ours, theirs = _per_problem(ours, "ours"), _per_problem(theirs, "theirs")
    if ours.shape != theirs.shape:
        raise InputError(f"paired arms need the same problems; got {ours.size} and {theirs.size}")
    return mean_interval(ours - theirs, level=level, resamples=resamples, seed=seed)


def seeds_interval(values: Values, *, level: float = 0.95) -> Interval:
    """The mean of the results of several training seeds, with the interval of Student's t distribution.

    Formula: `mean +- t s / sqrt(n)`, with s the standard deviation of n values (n - 1 below) and t the quantile of the
    t distribution with n - 1 degrees of freedom. It assumes that results are normal around their mean; with two or
    three seeds it is wide, which is what so few seeds tell. Raises InputError for fewer than two values, or values that
    are not finite.

    Source: Student, "The Probable Error of a Mean", Biometrika 1908.
    """
    from scipy import stats

    array = _per_problem(values, "values")
    if array.size < 2:
        raise InputError(f"one seed has no interval; got {array.size} values, expected at least 2")
    half = float(stats.t.ppf((1 + level) / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size))
    mean = float(array.mean())
    return Interval(mean, mean - half, mean + half, level)


def statistic_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    size: int,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval | None:
    """Any statistic of N problems, such as an AUROC, with its percentile bootstrap interval; None where it is NaN.

    `statistic(index)` gets numbers of problems `[R, N]`, one row for each resample, and gives `[R]`. Resamples in which
    it is NaN are left out, and the interval is widened to hold the estimate, which a biased statistic may miss.

    >>> statistic_interval(lambda index: np.array([0.0, 1.0, 1.0, 1.0])[index].max(axis=1), 4).mean
    1.0
    """
    if not 0 < level < 1:
        raise InputError(f"level={level}: expected a share between 0 and 1, such as 0.95")
    estimate = float(statistic(np.arange(size)[None])[0])
    if np.isnan(estimate):
        return None
    draws, rng, step = [], np.random.default_rng(seed), max(1, BLOCK // (10 * size))
    for begin in range(0, resamples, step):
        draws.append(statistic(rng.integers(size, size=(min(step, resamples - begin), size))))
    found = np.concatenate(draws)
    found = found[~np.isnan(found)]
    ends = np.quantile(found, [(1 - level) / 2, (1 + level) / 2]) if len(found) else (estimate, estimate)
    return Interval(estimate, min(float(ends[0]), estimate), max(float(ends[1]), estimate), level)


def _per_problem(values: Values, name: str) -> np.ndarray:
    """`[N]` float64, averaged over seeds; checked."""
    array = np.asarray(values, np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise InputError(f"{name} of shape {array.shape}: expected (problems,) or (seeds, problems), and some of each")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds {int((~np.isfinite(array)).sum())} numbers that are not finite; leave them out")
    return array.mean(axis=0) if array.ndim == 2 else array


def _bootstrap(
    statistic: Callable[..., Any], data: tuple[np.ndarray, ...], level: float, resamples: int, seed: int
) -> Interval:
    """The statistic of the data and its percentile interval; resamples whose statistic is NaN are left out."""
    from scipy import stats  # imported here because it takes a second, which commands without intervals save

    if not 0 < level < 1:
        raise InputError(f"level={level}: expected a share between 0 and 1, such as 0.95")
    if resamples < 1:
        raise InputError(f"resamples={resamples}: expected at least 1; 10000 gives stable ends")
    mean, size = float(statistic(*data, axis=-1)), data[0].size
    if size == 1:  # scipy refuses a single problem
        return Interval(mean, mean, mean, level)
    options = {"n_resamples": resamples, "batch": max(1, BLOCK // size), "method": "percentile", "rng": seed}
    with warnings.catch_warnings(action="ignore", category=stats.DegenerateDataWarning):  # of NaN
        found = stats.bootstrap(data, statistic, vectorized=True, paired=True, confidence_level=level, **options)
    low, high = np.nanquantile(found.bootstrap_distribution, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), level)
