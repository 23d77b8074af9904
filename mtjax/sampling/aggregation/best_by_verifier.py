"""Best by verifier: the answer of the sample that a verifier values most."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from mtjax.sampling.aggregation.base import AGGREGATIONS, valued, verifier_values


@AGGREGATIONS.register("best_by_verifier")
@valued
def best_by_verifier(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """All weight on the answer of the sample with the highest value; equally valued ones share it.

    The verifier is the value head of the model, or that of another one (`python -m mtjax.evaluate --verifier`). Source:
    Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021 (arXiv 2110.14168), for the choice by verifier.
    InputError if a value is unknown.
    """
    both = zip(answers, verifier_values(samples, len(answers)), strict=True)
    known = [(answer, value) for answer, value in both if answer is not None]
    highest = max((value for _, value in known), default=0.0)
    first = [answer for answer, value in known if value == highest]
    return {answer: first.count(answer) / len(first) for answer in dict.fromkeys(first)}
