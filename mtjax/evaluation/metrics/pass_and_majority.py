"""pass@k and maj@k."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.coverage import coverage_table
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval


@METRICS.register("coverage")
@dataclasses.dataclass(frozen=True)
class PassAndMajority:
    """pass@k and maj@k without sampling noise, for each k of the settings.

    Formula: see `evaluation.coverage.pass_at_k` and `maj_at_k`. A sample that cannot be decided counts as not right, so
    pass@k is a lower bound. InputError for a k beyond the number of samples.

    Returns: `pass@k` and `maj@k` for each k; with another aggregation than `majority`, its own name before `@k`.

    Source: Chen et al., 2021, section 2.1 (arXiv 2107.03374); Wang et al., ICLR 2023, section 2 (arXiv 2203.11171).
    """

    needs: ClassVar[tuple[Need, ...]] = ("samples",)
    order: ClassVar[int] = 10

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        found, by = evaluation.sampled, settings.aggregation
        name = "maj" if by == "majority" else by
        rows = coverage_table(
            found.votes,
            found.right,
            settings.ks,
            found.log_probs,
            by,
            level=settings.level,
            seed=settings.seed,
            samples=found.samples,
        )
        both = [{f"pass@{row.k}": row.pass_at_k, f"{name}@{row.k}": row.maj_at_k} for row in rows]
        return {key: interval for pair in both for key, interval in pair.items()}
