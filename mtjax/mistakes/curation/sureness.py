"""R-Tuning: the right answer, and whether the model was sure of it; or a refusal where it was not."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from mtjax.data.problem import Problem
from mtjax.data.sureness import QUESTION, sureness_text
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers

REFUSALS = (
    "I am not sure about the answer.",
    "I do not know the answer to this question.",
    "The answer is not known to me.",
    "I cannot answer this question with certainty.",
)
"""What takes the place of an answer in the variant `refuse`; the paper has 16 phrases, and these are ours."""


def answer_entropy(counts: Sequence[int]) -> float:
    """`-sum_j p_j ln p_j` of the frequencies of distinct answers, in nats.

    >>> round(answer_entropy([6, 3, 1]), 10)
    0.8979457249
    """
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts if count)


def entropy_of(one: Attempted) -> float:
    """The entropy of the answers to one problem; samples without an answer are one answer."""
    found = Counter[str | None]()
    for solution in one.mined.solutions:
        found[solution.answer] += solution.count
    return answer_entropy(list(found.values())) if found else math.inf


@CURATIONS.register("sureness")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sureness(Curation):
    """The right answer of every problem, followed by whether the untuned model was sure of it (R-Tuning).

    Formula: `{answer} {question} I am {sure|unsure}.` The answer is that of the source, also where the model was wrong:
    only the last word differs. With `variant="refuse"`, problems of which the model is unsure are answered by a refusal
    alone, and the others by the answer alone.

    A problem is sure where at least `sure_from` of its judged samples are right (one sample at temperature 0 is the
    paper's split), or with `split="entropy"` where the entropy of its answers is among the lower `1 - unsure_share` of
    the round, which needs no verdicts. Train one round: after it the model is sure of everything it was told.

    Source: Zhang et al., "R-Tuning: Instructing Large Language Models to Say 'I Don't Know'", NAACL 2024 (arXiv
    2311.09677), sections 2.1 and 2.2; the wording of the question is ours.
    """

    tasks: ClassVar[tuple[str, ...]] = ("completion", "chat")

    split: Literal["right", "entropy"] = "right"  # What tells what the model knows: right samples, or agreement.
    sure_from: Annotated[float, Gt(0), Le(1)] = 0.5  # Share of right samples from which a problem is sure.
    unsure_share: Annotated[float, Ge(0), Le(1)] = 0.5  # Share of the problems of highest entropy that are unsure.
    variant: Literal["sureness", "refuse"] = "sureness"  # A sureness after every answer, or refusals in its place.
    target: Literal["answer", "solution"] = "answer"  # The final answer of the source, or its first right solution.
    question: str = QUESTION  # What is asked between answer and sureness; "" asks nothing.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        asked = [one for one in attempts if one.mined.drawn]
        sure = self.sure(asked, helpers.seed)
        problems = [
            self.asked(one, right=(self.said(one.problem, known, helpers.seed),))
            for one, known in zip(asked, sure, strict=True)
        ]
        return Curated(problems, counts={"sure": sum(sure), "unsure": len(sure) - sum(sure)})

    def sure(self, attempts: Sequence[Attempted], seed: int) -> list[bool]:
        """Whether the model knows the answer of each problem; equal entropies are ordered by the seed."""
        if self.split == "right":
            return [(one.success_rate or 0.0) >= self.sure_from for one in attempts]
        values = [entropy_of(one) for one in attempts]
        order = sorted(range(len(values)), key=lambda place: (values[place], unit(seed, attempts[place].problem.id)))
        least = len(values) - round(self.unsure_share * len(values))
        known = set(order[:least])
        return [place in known for place in range(len(values))]

    def said(self, problem: Problem, sure: bool, seed: int) -> str:
        """What the model learns to say; InputError for a problem without an answer."""
        answer = problem.answer if self.target == "answer" else next(iter(problem.right), "")
        if not answer.strip():
            raise InputError(
                f"problem {problem.id} has no {self.target} to teach: curation.target='{self.target}' takes it from "
                "the source; choose the other, or a source that has it"
            )
        if self.variant == "refuse":
            return answer if sure else REFUSALS[int(unit(seed, problem.id) * len(REFUSALS))]
        return sureness_text(answer, sure, self.question)
