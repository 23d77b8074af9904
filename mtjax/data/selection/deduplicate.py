"""Drop problems whose question was seen before."""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence

from mtjax.data.problem import Problem
from mtjax.data.selection.base import SELECTIONS, Selected, Selection, asked
from mtjax.io.hashing import digest

_FORMS = {0xFEE0 + code: code for code in range(0x21, 0x7F)} | {0x2212: "-", 0x2010: "-", 0x2011: "-"}
"""Full-width signs, the minus sign and the Unicode hyphens as ASCII."""
_UNSEEN = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]|(?<=[^\\W\\d_]{2})-(?=[^\\W\\d_]{2})")
"""Soft hyphens, characters of no width, and hyphens between words."""
_PARTS = re.compile(r"\d[\d.,]*\d|\w+|[-+*/×÷=%<>±\u2200-\u22ff]")


def normalized(text: str) -> str:
    """A text in lower case without punctuation, its words and numbers separated by single spaces.

    Signs of arithmetic are kept, because "3 + 4" and "3 - 4" are different questions, and so are other mathematical
    operators. Composed and decomposed accents, full-width and plain signs, and the several hyphens are equal.

    >>> normalized("What is  3 + 4?"), normalized("Twenty-five \u2212 ５")
    ('what is 3 + 4', 'twenty five - 5')
    """
    plain = unicodedata.normalize("NFC", text.translate(_FORMS)).casefold()
    return " ".join(_PARTS.findall(_UNSEEN.sub(lambda found: " " if found[0] == "-" else "", plain)))


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
