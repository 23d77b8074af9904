"""Vote by verifier: each sample votes with the probability that a verifier gives it to be right."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mtjax.sampling.aggregation.base import AGGREGATIONS, normalised, valued, verifier_values


@AGGREGATIONS.register("verifier")
@valued
def verifier(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """The weight of an answer is the sum of `(1 + V) / 2` over its samples, V in [-1, 1] the verifier's value of each.

    The verifier is the value head of the model, or that of another one (`python -m mtjax.evaluate --verifier`). With
    equal values it is the majority vote. Source: Li et al., "Making Language Models Better Reasoners with Step-Aware
    Verifier", ACL 2023 (arXiv 2206.02336), for the vote weighted by a verifier. InputError if a value is unknown.
    """
    weights: dict[Hashable, float] = defaultdict(float)
    for answer, value in zip(answers, verifier_values(samples, len(answers)), strict=True):
        if answer is not None:
            weights[answer] += (1 + value) / 2
    if not sum(weights.values()):  # all are surely wrong
        return {answer: 1 / len(weights) for answer in weights}
    return normalised(weights)
