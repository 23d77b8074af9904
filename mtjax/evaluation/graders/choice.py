"""Compare the letter of a choice."""

import dataclasses
import re
from typing import ClassVar

from mtjax.data.answers import Verdict, extract_answer, options_in
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.answer import gold_answer
from mtjax.evaluation.graders.base import GRADERS
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample

LETTER = re.compile(r"\(?([A-Za-z])\)?[.:)]?(?:\s|$)")


def letter_of(text: str) -> str | None:
    """The letter that a text begins with, in upper case; None for other texts.

    >>> letter_of("(b) Paris"), letter_of("C"), letter_of("Berlin")
    ('B', 'C', None)
    """
    found = LETTER.match(text.strip())
    return found[1].upper() if found else None


def right_option(problem: Problem) -> int | None:
    """The place of a problem's right option, whose answer is its letter or its text; None where it is neither.

    >>> right_option(Problem("p", "?", "no", options=("yes", "no")))
    1
    """
    gold, options = gold_answer(problem), list(problem.options or options_in(problem.question))
    if gold in options:
        return options.index(gold)
    letter = letter_of(gold or "")
    place = -1 if letter is None else ord(letter) - ord("A")
    return place if 0 <= place < len(options) else None


@GRADERS.register("choice")
@dataclasses.dataclass(frozen=True)
class ChoiceGrader:
    """Right if the sample states the letter of the right option; wrong if it states another letter or none.

    Stricter than `answer`, for which the text of an option counts as well. An answer that is the text of an option is
    read as its letter. A sample that was cut, and a problem whose answer is no option, cannot be decided.
    """

    needs_gold: ClassVar[bool] = True

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        gold, options = gold_answer(problem), problem.options or options_in(problem.question)
        right = letter_of(gold or "")
        if right is None and gold in options:
            right = chr(ord("A") + list(options).index(gold))
        if right is None or not sample.finished:
            return Verdict.UNKNOWN
        return Verdict.RIGHT if letter_of(extract_answer(sample.text, choice=True) or "") == right else Verdict.WRONG
