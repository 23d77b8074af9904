"""How far a model's confidence in an entire solution can be believed."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from mtjax.errors import InputError
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval, difference_interval


class Bin(NamedTuple):
    """Solutions of similar confidence."""

    low: float  # lower edge, not in the bin
    high: float  # upper edge, in the bin
    size: int  # number of solutions, at least 1
    confidence: float  # their mean confidence
    accuracy: float  # share of them that is right


def reliability(
    confidence: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = 10
) -> list[Bin]:
    """Solutions sorted into `bins` bins of equal width by confidence, empty ones left out.

    >>> [(b.low, b.high, b.size, b.accuracy) for b in reliability([0.2, 0.9, 0.95], [False, True, False], bins=2)]
    [(0.0, 0.5, 1, 0.0), (0.5, 1.0, 2, 0.5)]

    `confidence` is the probability (0 to 1) that the model gives each solution, `right` whether it is right.
    """
    sure, good = np.asarray(confidence, float), np.asarray(right, float)
    if sure.shape != good.shape or not sure.size or bins < 1 or not (sure.min() >= 0 and sure.max() <= 1 + 1e-6):
        raise InputError(
            f"{sure.size} confidences and {good.size} verdicts in {bins} bins: expected as many of each, at least one, "
            "confidences from 0 to 1, and at least one bin"
        )
    number = bin_of(sure, bins)
    return [
        Bin(k / bins, (k + 1) / bins, int(own.sum()), float(sure[own].mean()), float(good[own].mean()))
        for k in range(bins)
        if (own := number == k).any()
    ]


def bin_of(sure: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each confidence: k of those in `(k / bins, (k + 1) / bins]`, and 0 of a confidence of 0.

    >>> bin_of(np.array([0.0, 0.07, 0.08, 1.0]), 100).tolist()
    [0, 6, 7, 99]
    """
    return np.searchsorted(np.arange(1, bins) / bins, sure, side="left")


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error of binned solutions: `sum_b size_b |accuracy_b - confidence_b| / sum_b size_b`.

    It depends on the bins, and is above 0 by chance alone where they hold few solutions.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2 (arXiv 1706.04599).
    """
    return float(sum(b.size * abs(b.accuracy - b.confidence) for b in bins) / sum(b.size for b in bins))


def row_errors(sure: np.ndarray, right: np.ndarray, bins: int = 10) -> np.ndarray:
    """The expected calibration error of each row of confidences and accuracies `[R, N]`, in bins of equal width."""
    number = bin_of(sure, bins)
    parts = [np.abs(((right - sure) * (number == own)).sum(axis=1)) for own in range(bins)]
    errors: np.ndarray = np.sum(parts, axis=0) / sure.shape[1]
    return errors


@METRICS.register("calibration")
@dataclasses.dataclass(frozen=True)
class Calibration:
    """Whether greedy answers are right as often as their probability says.

    Returns: `confidence`, the mean probability of the greedy answer; `overconfidence`, that mean less the accuracy; and
    `calibration_error` in 10 bins, whose interval is from 1,000 resamples of the problems.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2 (arXiv 1706.04599).
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy",)
    order: ClassVar[int] = 50
    by_default: ClassVar[bool] = False

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.greedy is not None
        sure, right = np.exp(np.array(evaluation.greedy.log_probs, float)[:, 0]), evaluation.greedy.right[:, 0]
        error = settings.statistic(lambda index: row_errors(sure[index], right[index]), len(sure))
        assert error is not None
        return {
            "confidence": settings.interval(sure),
            "overconfidence": difference_interval(sure, right, level=settings.level, seed=settings.seed),
            "calibration_error": error,
        }
