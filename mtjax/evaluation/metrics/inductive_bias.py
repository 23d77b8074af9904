"""How good a model is in bits: how rare a model with random parameters is that is as good."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtjax.evaluation.inductive_bias import required_bits
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval, statistic_interval


@METRICS.register("inductive_bias")
@dataclasses.dataclass(frozen=True)
class InductiveBias:
    """`-log2` of the chance that the model's architecture with random parameters has at most its nats per token.

    Returns: `random_nats_per_token`, the mean over models with random parameters (`--random_models`), and
    `required_bits`. Random models are far from trained ones, so that the number extrapolates a fit: compare it between
    models and tasks, and take its size for an order of magnitude. Intervals are over the random models.

    Source: Boopathy et al., "Towards Exact Computation of Inductive Bias", 2024 (arXiv 2406.15941); see
    `mtjax.evaluation.inductive_bias`.
    """

    needs: ClassVar[tuple[Need, ...]] = ("scores", "random_scores")
    order: ClassVar[int] = 68
    by_default: ClassVar[bool] = False
    asks: ClassVar[str] = "the problems have no right solutions to score: take a source that has some"

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.scores is not None
        assert evaluation.random_scores is not None
        own, drawn = evaluation.scores.only(1), np.asarray(evaluation.random_scores, float)
        if not len(own.ids):
            return {}
        reached = float(own.nats.sum() / own.weight.sum())

        def bits(index: np.ndarray) -> np.ndarray:
            rows = drawn[index]
            return np.array([required_bits(row, reached) if np.ptp(row) else np.nan for row in rows])

        mean = settings.interval(drawn)
        found = statistic_interval(bits, len(drawn), level=settings.level, seed=settings.seed, resamples=200)
        return {"random_nats_per_token": mean} | ({"required_bits": found} if found is not None else {})
