"""Majority: every sample has one vote."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mtjax.sampling.aggregation.base import AGGREGATIONS


@AGGREGATIONS.register("majority")
def majority(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """The share of samples with each answer; log-probabilities are not used.

    Source: Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models", ICLR 2023
    (arXiv 2203.11171).
    """
    votes = Counter(answer for answer in answers if answer is not None)
    return {answer: count / votes.total() for answer, count in votes.items()}
