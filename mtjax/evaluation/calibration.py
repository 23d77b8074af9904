"""How far a model's confidence in a whole solution can be believed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mtjax.errors import InputError


class Bin(NamedTuple):
    """Solutions of like confidence.

    Attributes:
        low: lower edge; the upper one belongs to the bin.
        high: upper edge.
        size: solutions in it, at least 1.
        confidence: their mean confidence.
        accuracy: share of them that is right.
    """

    low: float
    high: float
    size: int
    confidence: float
    accuracy: float


def reliability(
    confidence: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = 10
) -> list[Bin]:
    """Solutions sorted into `bins` bins of equal width by confidence, empty ones left out.

    >>> [(b.low, b.high, b.size, b.accuracy) for b in reliability([0.2, 0.9, 0.95], [False, True, False], bins=2)]
    [(0.0, 0.5, 1, 0.0), (0.5, 1.0, 2, 0.5)]

    Args:
        confidence: probability that the model gives each solution, 0 to 1.
        right: whether it is right; as many.
    """
    sure, good = np.asarray(confidence, float), np.asarray(right, float)
    if sure.shape != good.shape or not sure.size or bins < 1 or sure.min() < 0 or sure.max() > 1 + 1e-6:
        raise InputError(
            f"{sure.size} confidences and {good.size} verdicts in {bins} bins: expected as many of each, at least one, "
            "confidences from 0 to 1, and at least one bin"
        )
    number = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    return [
        Bin(k / bins, (k + 1) / bins, int(own.sum()), float(sure[own].mean()), float(good[own].mean()))
        for k in range(bins)
        if (own := number == k).any()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error of binned solutions: `sum_b size_b |accuracy_b - confidence_b| / sum_b size_b`.

    It depends on the bins, and is above 0 by chance alone where they hold few solutions.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2 (arXiv 1706.04599).
    """
    return float(sum(b.size * abs(b.accuracy - b.confidence) for b in bins) / sum(b.size for b in bins))
