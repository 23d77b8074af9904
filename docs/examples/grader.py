"""Substring: the text contains the gold answer."""

import dataclasses
from typing import ClassVar

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.answer import gold_answer
from mtjax.evaluation.graders.base import GRADERS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample


@GRADERS.register("substring")
@dataclasses.dataclass(frozen=True)
class Substring:
    """Right if the text contains the gold answer, in any case of letters. For short answers without a fixed form."""

    needs_gold: ClassVar[bool] = True

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        found = (gold_answer(problem) or "").casefold() in sample.text.casefold()
        return Verdict.RIGHT if found else Verdict.WRONG
