"""Drop problems whose question was seen before."""

import dataclasses
import re
from collections.abc import Sequence

from mtjax.data.problem import Problem
from mtjax.data.selection.base import SELECTIONS, Selected, Selection


def normalized(text: str) -> str:
    """A text in lower case without punctuation, its words and numbers separated by single spaces.

    Signs of arithmetic are kept, because "3 + 4" and "3 - 4" are different questions.

    >>> normalized("What is  3 + 4?")
    'what is 3 + 4'
    """
    return " ".join(re.findall(r"\d[\d.,]*\d|\w+|[-+*/×÷=%<>]", text.lower()))


@SELECTIONS.register("deduplicate")
@dataclasses.dataclass(frozen=True)
class Deduplicate(Selection):
    """Keep the first problem of each question; case, punctuation and white space do not count."""

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        first: dict[str, Problem] = {}
        for problem in problems:
            first.setdefault(normalized(problem.question) or problem.question, problem)
        return self.keep(list(first.values()), problems, "same question")
