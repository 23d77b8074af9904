"""Whether a reply whose answer seems to differ from the gold one ends in the gold one after all."""

import re

from mtjax.data.answers.calendar import MONTHS
from mtjax.data.answers.chosen import DENIES, LONGEST_SENTENCE
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.normal import plain
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import split_sentences

_MOST_WORDS = 8
_NUMERAL = re.compile(rf"[-+$€£]*\d[\d,.]*%?(?=\s|$)(?! ?[ap]\.?m\b| (?:of )?(?:{'|'.join(MONTHS)}))", re.IGNORECASE)
"""Numbers in digits are judged by what each is to the question, wherever they stand."""
_COMPARES = re.compile(r"\b(?:than|from|out of|of the|for the|instead of|rather than)\s*$", re.IGNORECASE)


def ends_in(text: str, truth: str) -> bool:
    """Whether the last words of a cleaned reply are the gold value, as a value of any kind.

    The readers of sentences look for values of certain forms, so they can take an earlier value for the answer where
    the last one has another form. Then nothing is known of the reply.

    >>> ends_in("3/12 + 4/12 = 7/12 is eaten, which leaves five twelfths.", "5/12")
    True
    """
    right = cut(truth)[1]
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    if not right.values or not lines or len(lines[-1]) > LONGEST_SENTENCE:
        return False
    words = plain(split_sentences(lines[-1].strip())[-1]).rstrip(" .!").split()
    for count in range(1, min(_MOST_WORDS, len(words) - 3) + 1):
        before = " ".join(words[:-count][-4:])
        said = " ".join(words[-count:])
        if compare(right, read(said)):
            return not (_NUMERAL.match(said) or DENIES.search(before) or _COMPARES.search(before))
    return False


_INSTRUCTS = re.compile(
    r"\b(?:you|we|one) (?:would|could|can|should|must|need to|have to) (?:then )?(?:divide|multiply|add|subtract)\b"
    r"[^=]*$",
    re.IGNORECASE,
)


_RELATIVE = re.compile(r"\bthe (?:day|week|month|year|hour) (?:after|before)\b", re.IGNORECASE)


def says_indirectly(answer: str) -> bool:
    """Whether a sentence says what is to be computed, or a day by another one: `You would multiply this by 100.`

    >>> says_indirectly("The exam is the day after Thursday.")
    True
    """
    return bool(_INSTRUCTS.search(answer) or _RELATIVE.search(answer))
