"""Whether agreement of samples is a confidence: majority, perplexity consistency, and with pruning."""

import dataclasses
from collections.abc import Hashable, Mapping
from functools import partial
from typing import ClassVar

import numpy as np

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.evaluation.metrics.calibration import row_errors
from mtjax.reporting.intervals import Interval
from mtjax.sampling.aggregation import AGGREGATIONS


def credited(weights: Mapping[Hashable, float], right: Mapping[Hashable, bool]) -> tuple[float, float]:
    """Confidence of the answer with the highest weight, and whether it is right; equal ones share the credit.

    >>> credited({"7": 0.4, "8": 0.4, "9": 0.2}, {"7": True})
    (0.4, 0.5)
    """
    if not weights:
        return 0.0, 0.0
    top = max(weights.values())
    first = [answer for answer, weight in weights.items() if weight >= top - 1e-12]
    return float(top), float(np.mean([right.get(answer, False) for answer in first]))


def _of_rows(sure: np.ndarray, right: np.ndarray, index: np.ndarray) -> np.ndarray:
    return row_errors(sure[index], right[index])


@METRICS.register("consistency")
@dataclasses.dataclass(frozen=True)
class Consistency:
    """Three ways to choose among samples, each with its accuracy and how far its confidence can be believed.

    `majority` gives an answer its share of the samples, `perplexity` the probability of its distinct solutions, and
    `rpc` the same after improbable solutions are pruned; each normalised over answers.

    Returns: `majority_accuracy` and `majority_ece` (expected calibration error in 10 bins), and so for `perplexity` and
    `rpc`. Samples without an answer have no weight.

    Source: Zhou et al., "Bridging Internal Probability and Self-Consistency for Effective and Efficient LLM
    Reasoning", NeurIPS 2025 (arXiv 2502.00511).
    """

    needs: ClassVar[tuple[Need, ...]] = ("samples",)
    order: ClassVar[int] = 56
    by_default: ClassVar[bool] = False
    least_samples: ClassVar[int] = 2

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        drawn, out = evaluation.sampled, dict[str, Interval]()
        right = drawn.right
        for name in ("majority", "perplexity", "rpc"):
            chosen = []
            for row, votes in enumerate(drawn.votes):
                weights = AGGREGATIONS[name](votes, drawn.log_probs[row], drawn.samples[row])
                known = {vote: bool(good) for vote, good in zip(votes, right[row], strict=True) if vote is not None}
                chosen.append(credited(weights, known))
            sure, good = np.array(chosen).T
            error = settings.statistic(partial(_of_rows, sure, good), len(sure))
            assert error is not None
            out |= {f"{name}_accuracy": settings.interval(good), f"{name}_ece": error}
        return out
