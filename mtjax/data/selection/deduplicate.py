"""Drop problems whose question was seen before."""

import dataclasses
import re
from collections.abc import Sequence

from mtjax.data.problem import Problem
from mtjax.data.selection.base import SELECTIONS, Selected, Selection, asked
from mtjax.io.hashing import digest


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
    """Keep the first problem of each question; case, punctuation and white space do not count.

    Of a conversation all turns before the last answer count, and of a record without a question its text.
    """

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        first: dict[str, Problem] = {}
        for problem in problems:
            text = asked(problem)
            first.setdefault(digest(normalized(text) or text), problem)
        return self.keep(list(first.values()), problems, "same question")
