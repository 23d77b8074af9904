"""What a reply says besides its answer: whether it also gives the gold one."""

import re
from collections.abc import Sequence

from mtjax.data.answers.asked import values
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.finding import Found
from mtjax.data.answers.normal import plain
from mtjax.data.answers.reader import read
from mtjax.data.answers.same import same_answer
from mtjax.data.answers.statements import cleaned, statements, taken_back

_UNSIGNED = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_SIGNED = rf"[-+−]?[$€£¥]? ?(?:[0-9]+ [0-9]+/[0-9]+|{_UNSIGNED}(?: ?/ ?{_UNSIGNED})?)"
NUMBER_IN_TEXT = re.compile(rf"(?<![\w.,/]){_SIGNED}(?:[eE][-+]?[0-9]{{1,3}}\b)? ?%?")
"""A number within running text, with sign, currency and percent sign; after a digit or letter, no sign is read."""


_DENIED = re.compile(
    r"(?:(?:^|,|,? and) not|,? (?:rather than|instead of)) [$€£]?[0-9][0-9,.]*(?= |,|\.?$)", re.IGNORECASE
)


_MINUS = re.compile(r"(?<=[\w)]) [-−] (?=\d)")  # x - 4 does not say -4
_QUOTIENT = re.compile(r"[0-9.,]+ ?/ ?[0-9.,]+(?=\s*=)")
"""A division whose result follows, which need not be its value."""
_SUMS = re.compile(r"[-+*/×÷=−()$€£.,\d\s]*=\s*[-−]?[$€£]?[\d,.]*\d\.?\s*")
"""Nothing but computations, the last of which gives a number: its other numbers are no answers."""


def also_says(found: Found, candidate: str, truth: str, options: Sequence[str], question: str) -> bool:
    """Whether a reply whose answer differs from the gold one also gives the gold one, as an answer or as a number."""
    for text, rest in found.earlier:
        if same_answer(cut(text)[0], truth, options=options, question=question) and not taken_back(rest):
            return True
    choice = bool(options)
    if found.closed or found.earlier or statements(cleaned(candidate, choice), choice) or _SUMS.fullmatch(candidate):
        return False
    number = read(truth).values.get("number")
    said = _MINUS.sub(" + ", _DENIED.sub("", cleaned(candidate)))
    said = _QUOTIENT.sub("", said) if number and number.value.denominator == 1 else said
    numbers = (read(one.strip()).values.get("number") for one in NUMBER_IN_TEXT.findall(said))
    own = found.reading.values.get("number")
    if number is None or own is None or own.value == number.value:
        return False
    if re.match(
        r"\W*one\b(?!\W*$)(?! (?:hundred|thousand|million|billion|half|third|quarter|[a-z]+th|and)\b)",
        cleaned(candidate),
        re.I,
    ):
        return True  # "One sentence" need not count anything
    in_words = number.value in values(plain(_DENIED.sub("", found.rest)))  # eight legs, so seven spiders have fifty-six
    return in_words or any(one is not None and one.value == number.value for one in numbers)
