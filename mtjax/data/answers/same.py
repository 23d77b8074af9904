"""Whether two answers are equal, given the options of a choice and the question."""

import re
from collections.abc import Sequence

from mtjax.data.answers.asked import in_unit, read_question
from mtjax.data.answers.choices import CONFLICT, choose, option_texts
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.equations import Reading
from mtjax.data.answers.reader import compare, read


def same_answer(answer: str | None, gold: str, *, options: Sequence[str] = (), question: str = "") -> bool | None:
    """Whether two answers are equal; None unless both are read whole as values of one kind, or equal in their words.

    With a `question`, a gold number without a unit has the one that is asked for: 275 for "How many cents" is $2.75.
    """
    return same(answer, read(answer), gold, options, question) if answer and gold else None


_WHO = re.compile(r"\b[Ww]ho\b")
_PERSON = re.compile(r"(?:[A-Z][a-z'-]+ ){1,2}([A-Z][a-z'-]{3,})")  # with the surname, which may stand alone


def same(answer: str, found: Reading, gold: str, options: Sequence[str], question: str = "") -> bool | None:
    """`same_answer` of an answer that was read already."""
    texts = option_texts(tuple(options))
    if texts:
        places = choose(gold, texts), choose(answer, texts)
        if CONFLICT in places:
            return None
        if None not in places:
            return places[0] == places[1] or compare(*(read(texts[place or 0]) for place in places)) or False
        gold = texts[places[0]] if places[0] is not None else gold
    right = cut(gold)[1]
    if "letter" in right.values and re.fullmatch("[a-j]", found.text):
        found = read(found.text.upper())
    if texts and found.values.keys() <= {"word", "sequence"}:
        return compare(right, found) or None  # no option, and so no choice
    equal, number = compare(right, found), right.values.get("number")
    person = _PERSON.fullmatch(right.text) if _WHO.search(question) else None
    if person and found.text == person[1]:
        return True
    if not question or number is None or texts:
        return equal
    asked = in_unit(number, read_question(question))
    if asked == number or "number" not in found.values:
        return equal
    said = compare(right._replace(text="", values={"number": asked}), found)
    if equal is not None and said is not None and equal and not said:
        return None  # the same number in another unit
    return said if said is not None else equal or (None if asked.percent else equal)


_CALLED_WRONG = re.compile(
    r"(?<![\w.,])(?P<value>[-$€£]{0,2}\d[\d.,]*%?) (?:(?:is|was) (?:wrong|incorrect|not (?:right|correct|the answer))"
    r"|(?:can't|cannot|can not) be (?:right|correct|the answer|it))\b",
    re.IGNORECASE,
)


def called_wrong(answer: Reading, rest: str) -> bool:
    """Whether what follows an answer says of its value that it is wrong: `so 18 can't be right`."""
    return any(compare(answer, read(one["value"])) for one in _CALLED_WRONG.finditer(rest))
