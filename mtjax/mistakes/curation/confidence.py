"""SaySelf's first stage: a right solution with a stated confidence, the share of samples that agree with it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

from mtjax.data.messages import context_text
from mtjax.data.sources.mined import Solution
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, drawn

REFLECT = (
    "Question:\n{question}\n\nAnswers that you gave:\n{answers}\n\nIn one to three sentences in the first person, say "
    "what you do not know that makes these answers differ.\n\nSelf-reflection:"
)
"""What asks the policy for a reflection; the paper asks another model, and its wording is not in our sources."""


def confidence_of(agreeing: int, samples: int) -> int:
    """`round(10 agreeing / samples)`, halves up: 80 of 100 is 8, 1 of 20 is 1.

    >>> confidence_of(80, 100), confidence_of(1, 20), confidence_of(3, 3)
    (8, 1, 10)
    """
    return math.floor(10 * agreeing / samples + 0.5)


@CURATIONS.register("stated_confidence")
@dataclasses.dataclass(frozen=True, kw_only=True)
class StatedConfidence(Curation):
    """A right solution, a self-reflection, and `Confidence: n`, n being ten times the share of samples that are right.

    Samples are one cluster where their answers are equal; the paper embeds and clusters whole responses. Problems
    without a right sample are left out. The second stage is a run of its own with `reward:confidence`.

    Source: Xu et al., "SaySelf: Teaching LLMs to Express Confidence with Self-Reflective Rationales", EMNLP 2024 (arXiv
    2405.20974), stage 1; `xu1868/SaySelf`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("completion", "chat")

    reflect: bool = False  # Ask the policy for a self-reflection on the answers that differ, and train it too.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        chosen = [(one, right) for one in attempts if (right := self.sides(one)[0])]
        said = helpers.ask([self.request(one) for one, _ in chosen]) if self.reflect and chosen else []
        problems, total = [], 0
        for number, (one, right) in enumerate(chosen):
            (solution,) = drawn(right, 1, helpers.seed, one.problem.id)
            confidence = confidence_of(one.mined.samples("right"), one.mined.drawn)
            total += confidence
            lines = [self.text(solution)]
            if said and (reflection := " ".join(said[number].split())):
                lines.append(f"Self-reflection: {reflection}")
            problems.append(self.asked(one, right=("\n".join([*lines, f"Confidence: {confidence}"]),)))
        return Curated(problems, counts={"confidences": total, "texts": len(problems)})

    def request(self, one: Attempted) -> str:
        """What asks for a reflection: the question, and one solution for each answer."""
        clusters: dict[str | None, Solution] = {}
        for solution in one.mined.solutions:
            clusters.setdefault(solution.answer, solution)
        answers = "\n".join(f"- {' '.join(solution.text.split())}" for solution in clusters.values())
        return REFLECT.format(question=context_text(one.problem.question, one.problem.messages), answers=answers)
