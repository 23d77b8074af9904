"""Which numbers a step may use: those given, in digits or in words, those worked out before, and everyday constants."""

import functools
import re
from collections.abc import Iterable
from fractions import Fraction

from mtjax.mistakes.text.lexer import lex, number_of, numbers_in

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
_UNITS += "seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_PARTS = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7} | {
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
}
_WORDS: dict[str, Fraction] = {word: Fraction(n) for n, word in enumerate(_UNITS.split())}
_WORDS |= {word: Fraction(10 * n) for n, word in enumerate(_TENS.split(), 2)}
_WORDS |= {word: Fraction(1, n) for word, n in _PARTS.items()}
_WORDS |= {"once": Fraction(1), "single": Fraction(1), "dozen": Fraction(12), "score": Fraction(20)}
_WORDS |= dict.fromkeys(("twice", "double", "pair", "couple", "both"), Fraction(2))
_WORDS |= dict.fromkeys(("thrice", "triple"), Fraction(3)) | {"quadruple": Fraction(4), "fortnight": Fraction(14)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}

CONSTANTS = frozenset(
    [Fraction(n) for n in (*range(21), 24, 25, 26, 28, 29, 30, 31, 32, 36, 48, 50, 52, 60, 64, 72, 75, 80, 90, 128)]
    + [Fraction(n) for n in (144, 168, 180, 200, 212, 231, 240, 250, 273, 300, 360, 365, 366, 400, 500, 600, 720, 800)]
    + [
        Fraction(n)
        for n in (900, 1440, 1760, 2000, 2240, 3000, 3600, 5000, 5280, 86400, *(10**k for k in range(2, 10)))
    ]
    + [Fraction(a, b) for b in (2, 3, 4, 5, 6, 8, 10) for a in range(1, b)]
    + [Fraction(a, 100) for a in (1, 5, 15, 25, 75, 314)]
)
"""Numbers that a step may use without saying where from: small ones, units, halves and the like."""

_FACTORS = tuple(Fraction(n) for n in (1, 2, 3, 4, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000))


def numbers_in_words(text: str) -> set[Fraction]:
    """The numbers that words of a text give: `twenty-five`, `two hundred`, `three-fourths`, `twice`, `a dozen`.

    Of a compound its parts count too, so that the set is rather too large than too small.
    """
    found: set[Fraction] = set()
    total = Fraction(0)  # of the words that belong together so far
    for word in re.findall(r"[a-z]+", text.lower()):
        value = _WORDS.get(word, _WORDS.get(word.removesuffix("s")))
        if word in _SCALES:
            total = (total or Fraction(1)) * _SCALES[word]
            found.add(total)
        elif value is not None:
            total = total * value if value < 1 and total else total + value if total >= 20 else value
            found |= {total, value}
        elif word != "and":
            total = Fraction(0)
    return found


def known_numbers(*texts: str) -> frozenset[Fraction]:
    """The numbers of some texts, in digits and in words; of a percentage p also p/100, 1 - p/100 and 1 + p/100."""
    return frozenset().union(*(_known(text) for text in texts))


@functools.lru_cache(maxsize=256)
def _known(text: str) -> frozenset[Fraction]:
    known = {number_of(token) for token in numbers_in(text)} | numbers_in_words(text)
    tokens, _ = lex(text)
    for token, after in zip(tokens, tokens[1:], strict=False):
        if token.kind == "number" and (after.kind == "percent" or after.text.lower() in ("percent", "cents", "cent")):
            share = number_of(token) / 100
            known |= {share, 1 - share, 1 + share, 100 - 100 * share, 100 + 100 * share}
        if token.kind == "number" and after.text.lower() in _SCALES:
            known.add(number_of(token) * _SCALES[after.text.lower()])
    for top, bottom in re.findall(r"([0-9]+) ?/ ?([0-9]*[1-9][0-9]*)", text):
        share = Fraction(int(top), int(bottom))
        known |= {share, 1 - share, 1 + share}
    return frozenset(known)


def derivable(number: Fraction, known: Iterable[Fraction]) -> bool:
    """Whether a number is known, an everyday constant, or one or two mental operations away from known ones.

    One operation may join a known number with another or with a common factor, two join known numbers alone.
    """
    known = frozenset(known)
    if number in known or number in CONSTANTS:
        return True
    pool = known | frozenset(_FACTORS)
    if _joined(number, known, pool):
        return True
    return any(_joined(rest, known, known) for rest in _undone(number, known))


def _undone(number: Fraction, known: Iterable[Fraction]) -> Iterable[Fraction]:
    """All x such that x and one known number give `number` in one operation."""
    for other in known:
        yield from (number - other, number + other, other - number)
        if other:
            yield from (number * other, number / other)
            if number:
                yield other / number


def _joined(number: Fraction, known: Iterable[Fraction], pool: frozenset[Fraction]) -> bool:
    return any(rest in pool for rest in _undone(number, known))
