"""Final answers: found in a reply, read as a value of some kind, and compared.

`statements` finds where a reply states its answer, `reader` reads a text as a number, choice, time, set, formula, ...
and compares two, and `checker` decides. `asked` reads what a question asks for, and `answering` what a reply without a
stated answer says to it, with `chosen` for numbers, `named` for all else, `emphasis` for text in bold, `endings` for
what ends a reply and `doubts` for one that ends in the gold answer after all. Verdicts, votes and extraction use the
same reading.
"""

from mtjax.data.answers.boxes import unboxed
from mtjax.data.answers.checker import (
    Verdict,
    check_answer,
    extract_answer,
    parse_number,
    stated_answer,
    vote,
)
from mtjax.data.answers.choices import options_in
from mtjax.data.answers.numbers import LONGEST
from mtjax.data.answers.same import same_answer

__all__ = [
    "LONGEST",
    "Verdict",
    "check_answer",
    "extract_answer",
    "options_in",
    "parse_number",
    "same_answer",
    "stated_answer",
    "unboxed",
    "vote",
]
