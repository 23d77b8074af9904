"""Best of n: keep the samples that the model itself finds most likely."""

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

from mtjax.errors import InputError
from mtjax.sampling.sampler import ProblemSamples, Prompt, Sample, Sampler
from mtjax.sampling.search.base import SEARCHES


def most_likely(samples: Sequence[Sample], keep: int) -> list[Sample]:
    """The `keep` samples with the highest mean log-probability per token, best first; samples without one come last."""

    def score(sample: Sample) -> float:
        return -math.inf if sample.logprob is None or not sample.tokens else sample.logprob / sample.tokens

    return sorted(samples, key=score, reverse=True)[:keep]


@SEARCHES.register("best_of_n")
@dataclasses.dataclass(frozen=True)
class BestOfN:
    """The most likely of the samples of each prompt, by mean log-probability per token.

    The mean keeps short answers from being preferred. A server without log-probabilities gives its first samples.
    """

    keep: int = 1  # samples to keep for each prompt

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise InputError(f"search.keep={self.keep}: expected at least 1")

    def __call__(
        self,
        sampler: Sampler,
        prompts: Sequence[Prompt],
        seed: int,
        stopped: Callable[[], Any],
        numbers: Sequence[int] | None = None,
    ) -> Generator[list[ProblemSamples], None, None]:
        """`most_likely` of what the sampler draws."""
        for batch in sampler.draw(prompts, seed, stopped, numbers):
            yield [one._replace(samples=most_likely(one.samples, self.keep)) for one in batch]
