"""Accuracy of the greedy answer."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval


@METRICS.register("greedy")
@dataclasses.dataclass(frozen=True)
class GreedyAccuracy:
    """Share of problems whose most likely answer, token by token, is right. Returns: `greedy`."""

    needs: ClassVar[tuple[Need, ...]] = ("greedy",)
    order: ClassVar[int] = 0

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.greedy is not None
        return {"greedy": settings.interval(evaluation.greedy.right[:, 0])}
