"""pass@k and maj@k."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.coverage import coverage_table
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings
from mtjax.reporting.intervals import Interval


@METRICS.register("coverage")
@dataclasses.dataclass(frozen=True)
class PassAndMajority:
    """pass@k and maj@k without sampling noise, for each k of the settings.

    Formula: see `evaluation.coverage.pass_at_k` and `maj_at_k`. A sample that cannot be decided counts as not right, so
    pass@k is a lower bound. InputError for a k beyond the number of samples.

    Returns: `pass@k` and `maj@k` for each k.

    Source: Chen et al., 2021, section 2.1 (arXiv 2107.03374); Wang et al., ICLR 2023, section 2 (arXiv 2203.11171).
    """

    needs_greedy: ClassVar[bool] = False
    order: ClassVar[int] = 10

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        """See the class."""
        sampled = evaluation.sampled
        out: dict[str, Interval] = {}
        rows = coverage_table(sampled.votes, sampled.right, settings.ks, level=settings.level, seed=settings.seed)
        for row in rows:
            out |= {f"pass@{row.k}": row.pass_at_k, f"maj@{row.k}": row.maj_at_k}
        return out
