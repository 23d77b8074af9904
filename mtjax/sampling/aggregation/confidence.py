"""Confidence: every sample has a vote, weighted by how likely the model finds its tokens."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mtjax.errors import InputError
from mtjax.sampling.aggregation.base import AGGREGATIONS, normalised, token_count


@AGGREGATIONS.register("confidence")
def confidence(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """Votes with the weight `exp(log-probability / tokens)`, the geometric mean of a sample's token probabilities.

    Between `majority` and `perplexity`: every sample has a vote, and its length does not count. Without `samples` the
    lengths are not known, and the weight is `exp(log-probability)`. InputError if a log-probability is unknown.

    Source: Taubenfeld et al., "Confidence Improves Self-Consistency in LLMs", 2025 (arXiv 2502.06233), for the vote
    weighted by response probability.
    """
    lengths = [1] * len(answers) if samples is None else [token_count(one) or 1 for one in samples]
    voters = [
        (answer, log, length)
        for answer, log, length in zip(answers, log_probs, lengths, strict=True)
        if answer is not None
    ]  # fmt: skip
    if any(log is None for _, log, _ in voters):
        raise InputError("a sample has no log-probability; expected one for each: use the aggregation majority instead")
    means = [(answer, log / length) for answer, log, length in voters if log is not None]
    highest = max((mean for _, mean in means), default=0.0)
    weights: dict[Hashable, float] = {}
    for answer, mean in means:
        weights[answer] = weights.get(answer, 0.0) + math.exp(mean - highest)
    return normalised(weights) if weights else {}
