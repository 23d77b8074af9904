"""Rewards of form: thoughts in their tags, and repeated tokens."""

import dataclasses
import re

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.rewards.base import REWARDS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample
from mtjax.validation import PositiveInt, check_types


@REWARDS.register("format")
@dataclasses.dataclass(frozen=True)
class Format:
    """1 if the whole text is a thought in its tags and then an answer, with one opening tag at its start; else 0.

    Formula: the text matches `<think>...</think>...` and has `<think>` once, as in TRL's `think_format_reward`.

    Source: DeepSeek-AI, "DeepSeek-R1: Incentivizing Reasoning Capability in LLMs via Reinforcement Learning", 2025
    (arXiv 2501.12948).
    """

    open: str = "<think>"  # The opening tag.
    close: str = "</think>"  # The closing tag.

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        opened, closed = re.escape(self.open), re.escape(self.close)
        fits = re.match(rf"^{opened}(?!.*{opened})(.*?){closed}.*$", sample.text, re.DOTALL)
        return 1.0 if fits else 0.0


def repetition_penalty(ids: tuple[int, ...], n: int) -> float:
    """`-(1 - distinct n-grams / n-grams)`: 0 where none repeats, towards -1 where all are the same.

    >>> repetition_penalty((5, 5, 5, 5, 5), 2)
    -0.75
    """
    grams = list(zip(*(ids[start:] for start in range(n)), strict=False))
    return -(1 - len(set(grams)) / len(grams)) if grams else 0.0


@REWARDS.register("repetition")
@dataclasses.dataclass(frozen=True)
class Repetition:
    """A penalty for n-grams of tokens that repeat: `-(1 - distinct / all)`, as in TRL. Not known without tokens.

    Source: Yeo et al., "Demystifying Long Chain-of-Thought Reasoning in LLMs", 2025 (arXiv 2502.03373).
    """

    n: PositiveInt = 3  # Tokens of an n-gram.

    def __post_init__(self) -> None:
        check_types(self, "reward")

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        ids = sample.tokens if isinstance(sample, TokenSample) else sample.token_ids
        return repetition_penalty(ids, self.n) if ids or not sample.text else None
