"""The contract of a reward and its registry."""

from typing import Protocol, runtime_checkable

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.registry import Registry
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample

REWARDS = Registry("reward")  # Every reward by name.


@runtime_checkable
class Reward(Protocol):
    """A frozen dataclass; its fields are its own settings."""

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        """The reward of one sample, whose verdict the grader has found; None where it is not known.

        Not known is not 0: such a sample is left out of the comparison, because a 0 would teach that what is hard to
        check is wrong. Never raises, whatever the text.
        """
        ...


def length_of(sample: Sample | TokenSample) -> int | None:
    """Tokens of a sample, its end token included; None if they are not known."""
    tokens = sample.tokens
    return len(tokens) if isinstance(tokens, tuple) else tokens
