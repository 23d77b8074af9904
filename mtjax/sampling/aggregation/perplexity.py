"""Perplexity: every distinct solution has its probability as its weight."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mtjax.sampling.aggregation.base import AGGREGATIONS, distinct_paths, normalised


def summed(paths: Sequence[tuple[Hashable, float]]) -> dict[Hashable, float]:
    """The sum of `exp(log-probability)` over the paths with each answer, normalised."""
    highest = max((log for _, log in paths), default=0.0)  # scaled by it, so that long solutions do not underflow
    weights: dict[Hashable, float] = {}
    for answer, log in paths:
        weights[answer] = weights.get(answer, 0.0) + math.exp(log - highest)
    return normalised(weights) if weights else {}


@AGGREGATIONS.register("perplexity")
def perplexity(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """The sum of `exp(log-probability)` over the distinct solutions with each answer, normalised.

    A solution that was drawn several times counts once: its probability already says how often it is drawn. InputError
    if a log-probability is unknown.

    Source: Zhou et al., "Bridging Internal Probability and Self-Consistency for Effective and Efficient LLM
    Reasoning", 2025 (arXiv 2502.00511), for perplexity consistency.
    """
    return summed(distinct_paths(answers, log_probs, samples))
