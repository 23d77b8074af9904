"""The reward of a stated confidence (SaySelf): a proper scoring rule of correctness and stated confidence."""

import dataclasses
import re

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.rewards.base import REWARDS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample

STATED = re.compile(r"confidence[*_]*\s*[:=][*_\s]*(\d+)(?!\.\d|\d|\s*%)", re.IGNORECASE)


def stated_confidence(text: str) -> int | None:
    """The last confidence from 0 to 10 that a text states (`Confidence: 7`); None without one, or outside of that.

    Emphasis of Markdown (`**Confidence:** 7`) does not count, and a percentage is no such confidence.

    The released code clamps to 0..1 before it divides by 10, so that 85 counts as 0.1, and takes a missing number for
    0, which is the best answer of a wrong text. Both are failures here.

    >>> stated_confidence("It is 4.\\nConfidence: 7"), stated_confidence("Confidence: 85"), stated_confidence("sure")
    (7, None, None)
    """
    found = STATED.findall(text)
    return int(found[-1]) if found and len(found[-1]) < 20 and int(found[-1]) <= 10 else None


def confidence_reward(confidence: int, right: bool) -> float:
    """`1 - 2 (right - confidence / 10)^2`: from -1 to 1, highest in expectation where the confidence is the chance.

    >>> [round(confidence_reward(c, True), 2) for c in (0, 5, 8, 10)]
    [-1.0, 0.5, 0.92, 1.0]
    """
    return 1 - 2 * (float(right) - confidence / 10) ** 2


@REWARDS.register("confidence")
@dataclasses.dataclass(frozen=True)
class ConfidenceReward:
    """`1 - 2 (right - confidence / 10)^2` of the confidence from 0 to 10 that a text states; -1 if it states none.

    The paper's figure has another formula, `(right c - wrong c)^2 / 100`, which is `c^2 / 100` whether right or wrong,
    and is best served by always saying 10; this is the code's. Not known where the verdict is not. PPO trains the
    tokens after `Confidence:` alone (`after` of the task `group`); without such a mask accuracy drifts.

    Source: Xu et al., "SaySelf: Teaching LLMs to Express Confidence with Self-Reflective Rationales", EMNLP 2024 (arXiv
    2405.20974); `xu1868/SaySelf`.
    """

    missing: float = -1.0  # Reward of a text that states no confidence from 0 to 10.

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        if verdict is Verdict.UNKNOWN:
            return None
        confidence = stated_confidence(sample.text)
        return self.missing if confidence is None else confidence_reward(confidence, verdict is Verdict.RIGHT)
