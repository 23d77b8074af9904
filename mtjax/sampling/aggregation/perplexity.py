"""Perplexity: every sample has its probability as its weight."""

import math
from collections.abc import Hashable, Mapping, Sequence

from mtjax.errors import InputError
from mtjax.sampling.aggregation.base import AGGREGATIONS


@AGGREGATIONS.register("perplexity")
def perplexity(answers: Sequence[Hashable | None], log_probs: Sequence[float | None]) -> Mapping[Hashable, float]:
    """The sum of `exp(log-probability)` over the distinct solutions with each answer, normalised.

    A solution that was drawn several times (equal answer and log-probability) counts once: its probability already says
    how often it is drawn. InputError if a log-probability is unknown.

    Source: Zhou et al., "Bridging Internal Probability and Self-Consistency for Effective and Efficient LLM
    Reasoning", 2025 (arXiv 2502.00511), for perplexity consistency.
    """
    known = dict.fromkeys(pair for pair in zip(answers, log_probs, strict=True) if pair[0] is not None)
    if any(log is None for _, log in known):
        raise InputError("a sample has no log-probability; expected one for each: use the aggregation majority instead")
    numbers = [(answer, log) for answer, log in known if log is not None]
    highest = max((log for _, log in numbers), default=0.0)  # scaled by it, so that long solutions do not underflow
    weights: dict[Hashable, float] = {}
    for answer, log in numbers:
        weights[answer] = weights.get(answer, 0.0) + math.exp(log - highest)
    return {answer: weight / sum(weights.values()) for answer, weight in weights.items()}
