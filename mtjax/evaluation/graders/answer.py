"""Compare final answers: the default grader."""

import dataclasses
from typing import ClassVar

from mtjax.data.answers import Verdict, check_answer, extract_answer, options_in
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.base import GRADERS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample


def gold_answer(problem: Problem) -> str | None:
    """The answer to compare with: the problem's own, or the one its first right solution gives; None without either."""
    if problem.answer:
        return problem.answer
    return extract_answer(problem.right[0], choice=bool(problem.options)) if problem.right else None


@GRADERS.register("answer")
@dataclasses.dataclass(frozen=True)
class AnswerGrader:
    """Compares final answers: right if equal to the gold one, wrong if both are read whole and differ, else unknown.

    See `mtjax.data.answers.check_answer`. A letter and the text of its option are the same if the options are known,
    from the problem or from its question; the question also says in which unit a number is asked for.
    """

    needs_gold: ClassVar[bool] = True

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        gold = gold_answer(problem)
        if gold is None:
            return Verdict.UNKNOWN
        options = problem.options or options_in(problem.question)
        return check_answer(sample.text, gold, question=problem.question, options=options, finished=sample.finished)
