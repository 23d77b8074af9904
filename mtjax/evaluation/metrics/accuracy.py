"""Accuracy of the greedy answer."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings
from mtjax.reporting.intervals import Interval


@METRICS.register("greedy")
@dataclasses.dataclass(frozen=True)
class GreedyAccuracy:
    """Share of problems whose most likely answer, token by token, is right.

    Returns: `greedy`; nothing where no greedy answers were decoded.
    """

    needs_greedy: ClassVar[bool] = True
    order: ClassVar[int] = 0

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        """See the class."""
        return {} if evaluation.greedy is None else {"greedy": settings.interval(evaluation.greedy.right[:, 0])}
