"""Check every step of a solution of generated arithmetic."""

import dataclasses
from typing import ClassVar

from mtjax.data.answers import Verdict
from mtjax.data.arithmetic_checker import check_steps
from mtjax.data.expressions import parse_question
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.base import GRADERS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample


@GRADERS.register("steps")
@dataclasses.dataclass(frozen=True)
class StepsGrader:
    """Right if all steps and the answer line are right (`mtjax.data.arithmetic_checker.check_steps`).

    Stricter than `answer`: a right answer after a wrong or missing step is wrong. Questions that are not generated
    arithmetic (`data.source:arithmetic`) cannot be decided.
    """

    needs_gold: ClassVar[bool] = False

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        if parse_question(problem.question) is None:
            return Verdict.UNKNOWN
        return Verdict.RIGHT if check_steps(problem.question, sample.text).first_wrong is None else Verdict.WRONG
