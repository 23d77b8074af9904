"""Best of n: keep the samples that the model itself finds most likely."""

import dataclasses
import math
from collections.abc import Sequence

from mtjax.sampling.sampler import Batches, Numbers, Prompt, Sample, Sampler, Stop
from mtjax.sampling.search.base import SEARCHES
from mtjax.validation import PositiveInt, check_types


def most_likely(samples: Sequence[Sample], keep: int) -> list[Sample]:
    """The `keep` samples with the highest mean log-probability per token, best first; samples without one come last."""
    score = lambda one: -math.inf if one.logprob is None or not one.tokens else one.logprob / one.tokens
    return sorted(samples, key=score, reverse=True)[:keep]


@SEARCHES.register("best_of_n")
@dataclasses.dataclass(frozen=True)
class BestOfN:
    """The most likely of the samples of each prompt, by mean log-probability per token.

    The mean keeps short answers from being preferred. A server without log-probabilities gives its first samples.
    """

    keep: PositiveInt = 1  # samples to keep for each prompt

    def __post_init__(self) -> None:
        check_types(self, "search")

    def __call__(
        self, sampler: Sampler, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None
    ) -> Batches:
        """`most_likely` of what the sampler draws."""
        for batch in sampler.draw(prompts, seed, stopped, numbers):
            yield [one._replace(samples=most_likely(one.samples, self.keep)) for one in batch]
