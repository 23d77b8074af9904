"""Which numbers a step may use: those given, in digits or in words, those worked out before, and everyday constants."""

import functools
import re
from collections.abc import Iterable
from fractions import Fraction

from mtjax.data.answers import LONGEST
from mtjax.mistakes.text.equations import NOT_UNITS
from mtjax.mistakes.text.lexer import is_no_number, lex, number_of, numbers_in

_WORDS = {
    word: Fraction(str(number))
    for words, numbers in (
        ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen", range(15)),
        ("fifteen sixteen seventeen eighteen nineteen", range(15, 20)),
        ("twenty thirty forty fifty sixty seventy eighty ninety", range(20, 100, 10)),
        ("once single twice double pair couple both thrice triple quadruple", (1, 1, 2, 2, 2, 2, 2, 3, 3, 4)),
        ("dozen score fortnight", (12, 20, 14)),
        ("half halve third quarter fourth", ("1/2", "1/2", "1/3", "1/4", "1/4")),
        ("fifth sixth seventh eighth ninth tenth", ("1/5", "1/6", "1/7", "1/8", "1/9", "1/10")),
    )
    for word, number in zip(words.split(), numbers, strict=True)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}

CONSTANTS = frozenset(
    [Fraction(n) for n in (*range(21), 24, 25, 26, 28, 29, 30, 31, 32, 36, 48, 50, 52, 60, 64, 72, 75, 80, 90, 128)]
    + [Fraction(n) for n in (144, 168, 180, 200, 212, 231, 240, 250, 273, 300, 360, 365, 366, 400, 500, 600, 720, 800)]
    + [Fraction(n) for n in (900, 1440, 1760, 2000, 2240, 3000, 3600, 5000, 5280, 86400)]
    + [Fraction(10**k) for k in range(2, 10)]
    + [Fraction(a, b) for b in (2, 3, 4, 5, 6, 8, 10) for a in range(1, b)]
    + [Fraction(a, 100) for a in (1, 5, 15, 25, 75, 314)]
)
"""Numbers that a step may use without a source: small ones, units, halves and the like."""

_FACTORS = frozenset(Fraction(n) for n in (1, 2, 3, 4, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000))


def numbers_in_words(text: str) -> set[Fraction]:
    """The numbers that words of a text give: `twenty-five`, `two hundred`, `three-fourths`, `twice`, `a dozen`.

    Parts of a compound count too: a number too many is better than one too few.
    """
    found: set[Fraction] = set()
    total = Fraction(0)  # value of the words that belong together so far
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


@functools.lru_cache(maxsize=256)
def known_numbers(*texts: str) -> frozenset[Fraction]:
    """The numbers of some texts, in digits and in words; of a percentage p also p/100, 1 - p/100 and 1 + p/100."""
    known: set[Fraction] = set()
    for text in texts:
        known |= {number_of(token) for token in numbers_in(text)} | numbers_in_words(text)
        tokens, _ = lex(text)
        for token, after in zip(tokens, tokens[1:], strict=False):
            word, number = after.text.lower(), number_of(token) if token.kind == "number" else None
            if number is not None and (after.kind == "percent" or word in ("percent", "cents", "cent")):
                known |= {number / 100, 1 - number / 100, 1 + number / 100, 100 - number, 100 + number}
            if number is not None and word in _SCALES:
                known.add(number * _SCALES[word])
        for top, bottom in re.findall(r"([0-9]+) ?/ ?([0-9]*[1-9][0-9]*)", text):
            if max(len(top), len(bottom)) <= LONGEST:
                share = Fraction(int(top), int(bottom))
                known |= {share, 1 - share, 1 + share}
    return frozenset(known)


def counted(text: str) -> list[tuple[Fraction, str]]:
    """Each number of a text (as `numbers_in`) with what it counts: the noun after it, or `%` or the currency; or "".

    >>> counted("48 friends paid $3")
    [(Fraction(48, 1), 'friend'), (Fraction(3, 1), '$')]
    """
    tokens, found = lex(text)[0], []
    for i, token in enumerate(tokens):
        if token.kind == "number" and not is_no_number(tokens, i):
            before, after = (tokens[k] if 0 <= k < len(tokens) else token for k in (i - 1, i + 1))
            noun = after.text.lower().removesuffix("s") if after.kind == "word" else ""
            noun = "" if after.text.lower() in NOT_UNITS or len(noun) < 2 else noun
            signs = [sign.text for sign in (before, after) if sign.kind in ("currency", "percent")]
            found.append((number_of(token), signs[0] if signs else noun))
    return found


def derivable(number: Fraction, known: Iterable[Fraction], constants: frozenset[Fraction] = CONSTANTS) -> bool:
    """Whether a number is known, one of `constants`, or one or two mental operations away from known ones.

    One operation may join a known number with another or with a common factor; two join only known numbers.
    """
    known = frozenset(known)
    if number in known or number in constants or _joined(number, known, known | _FACTORS):
        return True
    return any(_joined(rest, known, known) for rest in _undone(number, known))


def _joined(number: Fraction, known: Iterable[Fraction], pool: frozenset[Fraction]) -> bool:
    """Whether a known number and one of `pool` give `number` in one operation."""
    return any(rest in pool for rest in _undone(number, known))


def _undone(number: Fraction, known: Iterable[Fraction]) -> Iterable[Fraction]:
    """All x such that x and one known number give `number` in one operation."""
    for other in known:
        yield from (number - other, number + other, other - number)
        if other:
            yield from (number * other, number / other)
            if number:
                yield other / number
