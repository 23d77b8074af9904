"""Compare final answers: the default grader."""

import dataclasses
from typing import ClassVar

from mtjax.data.answers import Verdict, check_answer, extract_answer
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.base import GRADERS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample


def gold_answer(problem: Problem) -> str | None:
    """The answer to compare with: the problem's own, or the one its first right solution gives; None without either."""
    if problem.answer:
        return problem.answer
    return extract_answer(problem.right[0]) if problem.right else None


@GRADERS.register("answer")
@dataclasses.dataclass(frozen=True)
class AnswerGrader:
    """Right if the final answer equals the gold answer, as numbers or as words (`mtjax.data.answers.check_answer`)."""

    needs_gold: ClassVar[bool] = True

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        gold = gold_answer(problem)
        return Verdict.UNKNOWN if gold is None else check_answer(sample.text, gold)
