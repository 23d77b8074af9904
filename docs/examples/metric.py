"""Agreement: how often the samples of a problem give the same answer, right or wrong."""

import dataclasses
from collections import Counter
from typing import ClassVar

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval


@METRICS.register("agreement")
@dataclasses.dataclass(frozen=True)
class Agreement:
    """Share of a problem's samples that give its most frequent answer. Samples without an answer count as disagreeing.

    Returns: `agreement`.
    """

    needs: ClassVar[tuple[Need, ...]] = ("samples",)
    order: ClassVar[int] = 30

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        """Compute the metric."""
        shares = []
        for row in evaluation.sampled.votes:
            counts = Counter(vote for vote in row if vote is not None)
            shares.append(max(counts.values(), default=0) / len(row))
        return {"agreement": settings.interval(shares)}
