"""Numbers in English words: `twenty-one`, `one hundred and five`, `two and a half`, `three quarters`, `2.5 million`."""

import re
from collections.abc import Sequence
from fractions import Fraction

from mtjax.data.answers.normal import listed

_SMALL = dict(
    zip(
        listed(
            """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen"""
        ),
        range(20),
        strict=True,
    )
) | dict(zip(listed("twenty thirty forty fifty sixty seventy eighty ninety"), range(20, 100, 10), strict=True))
SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "lakh": 10**5, "crore": 10**7}
COUNTS = {"dozen": 12, "score": 20, "gross": 144, "hundred": 100}
_PARTS = {"half": 2, "third": 3, "quarter": 4} | {
    f"{name}th": n for n, name in enumerate(listed("four fif six seven eigh nin ten eleven twelf"), 4)
} | {"hundredth": 100, "thousandth": 1000, "millionth": 10**6} | {
    (f"{name[:-1]}ieth" if name.endswith("ty") else f"{name}th"): n for name, n in _SMALL.items() if n > 12
}  # fmt: skip
NUMBER_WORDS = (
    frozenset(_SMALL) | frozenset(SCALES) | frozenset(COUNTS) | frozenset(_PARTS) | {"halves", "couple", "forty"}
)


def _part(word: str) -> int | None:
    """The denominator that a word names, such as 4 for `quarters`."""
    return 2 if word == "halves" else _PARTS.get(word) or _PARTS.get(word.removesuffix("s"))


def _scale(word: str) -> int | None:
    return (
        SCALES.get(word) or COUNTS.get(word) or SCALES.get(word.removesuffix("s")) or COUNTS.get(word.removesuffix("s"))
    )


def read_words(words: Sequence[str]) -> tuple[Fraction, int, Fraction] | None:
    """The number at the start of a list of words in lower case; None if it begins with none.

    Returns its value, how many words it takes, and the value without a last `thousand`, `dozen` or the like (which may
    be a unit).

    >>> read_words("two and a half dozen eggs".split())
    (Fraction(30, 1), 5, Fraction(5, 2))
    """  # fmt: skip
    value, at = _below_thousand(words, 0)
    if value is None:
        return None
    total, bare = Fraction(0), value
    while at < len(words) and (scale := _scale(words[at])) is not None:
        bare = value if not total else total + value
        total, value, at = total + value * scale, Fraction(0), at + 1
        more, after = _below_thousand(words, at + (words[at : at + 1] == ["and"]))
        if more is None or more >= scale or scale == 12:
            break
        value, at, bare = more, after, total + more
    return total + value, at, bare


def _below_thousand(words: Sequence[str], at: int) -> tuple[Fraction | None, int]:
    """A number below a thousand, or a fraction, from a place on, and the place behind it."""
    start, value = at, None
    if list(words[at : at + 2]) == ["half", "a"] and at + 2 < len(words) and _scale(words[at + 2]):
        return Fraction(1, 2), at + 2
    article = at + 1 < len(words) and words[at] in ("a", "an")
    if article and (_part(words[at + 1]) or _scale(words[at + 1])):
        value, at = Fraction(1), at + 1
    while at < len(words):
        word, small = words[at], _SMALL.get(words[at])
        if small is not None:
            fits = (
                value is None
                or (value >= 100 and value % 100 == 0)
                or (value % 100 >= 20 and value % 10 == 0 < small < 10)
            )
            if not fits:
                break
            value, at = (value or Fraction(0)) + small, at + 1
        elif word == "hundred" and value is not None and 0 < value < 100:
            value, at = value * 100, at + 1
            if words[at : at + 1] == ["and"] and at + 1 < len(words) and _SMALL.get(words[at + 1]):
                at += 1
        else:
            break
    if at + 1 < len(words) and words[at] == "point" and (digits := _digits(words[at + 1 :])):
        return (value or Fraction(0)) + Fraction(f"0.{digits}"), at + 1 + len(digits)
    if at < len(words) and (part := _part(words[at])):
        if value is None:
            return (Fraction(1, 2), at + 1) if words[at] == "half" and at == start else (None, start)
        if (value == 1) == (words[at] in _PARTS):
            return value / part, at + 1
        return None, start
    if value is not None and words[at : at + 1] == ["and"] and (added := and_part(words, at)):
        return value + added[0], added[1]
    return value, at


def _digits(words: Sequence[str]) -> str:
    """The decimals behind "point": the words of single digits that the words begin with."""
    out = ""
    while len(out) < len(words) and (digit := _SMALL.get(words[len(out)], 10)) < 10:
        out += str(digit)
    return out


def and_part(words: Sequence[str], at: int) -> tuple[Fraction, int] | None:
    """The fraction of `and a half`, `and three quarters` from the word "and" on, and the place behind it."""
    if words[at : at + 1] != ["and"] or at + 2 >= len(words):
        return None
    top = 1 if words[at + 1] in ("a", "one") else _SMALL.get(words[at + 1], 0)
    part = _part(words[at + 2])
    return (Fraction(top, part), at + 3) if top and part and (top == 1) == (words[at + 2] in _PARTS) else None


_ORDINALS = {name: n for n, name in enumerate(
    listed("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
           "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"), 1)}  # fmt: skip


def read_ordinal(text: str) -> int | None:
    """The place in a row that a text is: `3rd`, `the third place`; else None."""
    found = re.fullmatch(r"(?:the )?(?:([0-9]+)(?:st|nd|rd|th)|([a-z]+))(?: (?:place|position))?", text.lower())
    return None if found is None else int(found[1]) if found[1] else _ORDINALS.get(found[2])


def tokens(text: str) -> list[str]:
    """Words in lower case; a hyphen between two number words separates them."""
    text = re.sub(r"(?<=usand|llion),(?= (?:and )?[a-z])", "", text.lower()) if "," in text else text.lower()
    return re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text).split()


def in_digits(text: str) -> str:
    """A text with its whole numbers in words as digits.

    >>> in_digits("four dollars and fifty cents")
    '4 dollars and 50 cents'
    """
    words, out, at = tokens(text), [], 0
    while at < len(words):
        found = read_words(words[at:])
        if found is None or found[0].denominator > 1:
            out.append(words[at])
            at += 1
        else:
            out.append(str(found[0]))
            at += found[1]
    return " ".join(out)
