"""What the prefix of a mistake task changes."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval, difference_interval


@METRICS.register("gap")
@dataclasses.dataclass(frozen=True)
class PrefixGap:
    """pass@1 after the right prefix less pass@1 after the wrong one, paired over problems. Returns: `gap`."""

    needs: ClassVar[tuple[Need, ...]] = ("samples", "wrong_prefix")
    order: ClassVar[int] = 40

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.wrong_prefix is not None
        pair = (evaluation.per_problem, evaluation.wrong_prefix.per_problem)
        return {"gap": difference_interval(*pair, level=settings.level, seed=settings.seed)}
