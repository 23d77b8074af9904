"""Rewards of length: the soft penalty of overlong texts, cosine shaping, and a wanted length."""

import dataclasses
import math

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.rewards.base import REWARDS, length_of
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample
from mtjax.validation import PositiveInt, check_types


def overlong_penalty(tokens: int, longest: int, zone: int) -> float:
    """0 up to `longest - zone` tokens, `(longest - zone - tokens) / zone` up to `longest`, -1 beyond.

    >>> [overlong_penalty(n, 100, 20) for n in (80, 90, 100, 101)]
    [0.0, -0.5, -1.0, -1.0]
    """
    if tokens <= longest - zone:
        return 0.0
    return -1.0 if tokens > longest else (longest - zone - tokens) / zone


def cosine_reward(tokens: int, longest: int, right: bool) -> float:
    """Right: `0.5 + 0.25 (1 + cos(pi n / L))`, from 1 for short texts to 0.5; wrong: from -1 for short texts to -0.5.

    >>> round(cosine_reward(10, 100, True), 4), round(cosine_reward(10, 100, False), 4)
    (0.9878, -0.9878)
    """
    share = 0.5 + 0.25 * (1 + math.cos(math.pi * min(tokens, longest) / longest))
    return share if right else -share


@REWARDS.register("soft_overlong")
@dataclasses.dataclass(frozen=True)
class SoftOverlong:
    """DAPO's soft penalty of overlong texts: 0, then linear, then -1; add it to the verdict with `weighted_sum`.

    Source: Yu et al., "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", 2025 (arXiv 2503.14476).
    """

    longest: PositiveInt = 20480  # Tokens beyond which the penalty is 1.
    zone: PositiveInt = 4096  # Tokens before that in which it grows.

    def __post_init__(self) -> None:
        check_types(self, "reward")
        if self.zone > self.longest:
            raise InputError(f"reward.zone={self.zone}: expected at most longest={self.longest}")

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        tokens = length_of(sample)
        return None if tokens is None else overlong_penalty(tokens, self.longest, self.zone)


@REWARDS.register("cosine_length")
@dataclasses.dataclass(frozen=True)
class CosineLength:
    """Right texts are worth more when they are short, wrong ones when they are long. Not known without a verdict.

    Source: Yeo et al., "Demystifying Long Chain-of-Thought Reasoning in LLMs", 2025 (arXiv 2502.03373), with TRL's
    values.
    """

    longest: PositiveInt = 1024  # Tokens at which the reward has fallen to half.

    def __post_init__(self) -> None:
        check_types(self, "reward")

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        tokens = length_of(sample)
        if tokens is None or verdict is Verdict.UNKNOWN:
            return None
        return cosine_reward(tokens, self.longest, verdict is Verdict.RIGHT)


@REWARDS.register("wanted_length")
@dataclasses.dataclass(frozen=True)
class WantedLength:
    """`1 - |n - wanted| / wanted`, at least 0: the nearer to a wanted number of tokens, the better (open-instruct)."""

    wanted: PositiveInt = 256  # Tokens.

    def __post_init__(self) -> None:
        check_types(self, "reward")

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        tokens = length_of(sample)
        return None if tokens is None else max(0.0, 1 - abs(tokens - self.wanted) / self.wanted)
