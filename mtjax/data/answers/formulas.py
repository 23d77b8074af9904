"""Formulas: read whole, and compared by their values at a few points.

Two formulas that agree at the points to 40 digits are equal, and two that differ by more than rounding are different. A
formula that cannot be read completely, such as one with a factorial, an ellipsis or the subscript of a base, is no
formula here; `math_worker` may still find it equal to another.
"""

import re
from fractions import Fraction
from typing import Any, NamedTuple

from mtjax.data.answers.formula_parser import FUNCTIONS, Formula, high, math, parse
from mtjax.data.answers.normal import listed

_RUN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}")
_NAMED = re.compile(rf"(?<![\\A-Za-z])({'|'.join(sorted(FUNCTIONS | {'pi'}, key=len, reverse=True))})(?![A-Za-z])")
_WORDS = frozenset(listed("""or an at is it in no on of to if so we he me my us by as be do go up am pm ok hi vs"""))
_OTHER = re.compile(
    r"^\d+(?:\.\d+)?-\d+(?:\.\d+)?(?:/\d+)?$|^[\d.]+ - [\d.]+$"  # a difference or a range
    r"|\d\s*[xX]\s*\d|\d/\d+/|\d-\d+-\d"  # a product with the letter x, a date
    r"|^[A-Za-z ]{2,}$|^\{.*\}$|\.\.\."  # words, a set, an ellipsis
)


def read_formula(text: str) -> Formula | None:
    """The formula that a text (in the spelling of `normal.plain`) is; None if any of it is something else."""
    if not 0 < len(text) <= 300 or _OTHER.search(text):
        return None
    text = _NAMED.sub(r"\\\1", text)
    letters = _RUN.findall(re.sub(r"\\[A-Za-z]+", " ", text))
    if any(len(run) > 2 or run.lower() in _WORDS for run in letters):
        return None  # words
    return parse(text)


_POINTS = (("0.37", "1.91"), ("1.73", "0.61"), ("2.71", "1.13"), ("-0.83", "1.57"), ("-2.19", "-1.31"))


def _values(formula: Formula, letters: list[str]) -> list[Any]:
    mp = math()
    out = []
    for first, step in _POINTS:
        start, by = mp.mpf(first), mp.mpf(step)
        env = {name: start + by * (n + 1) / 7 * (1 if start > 0 else -1) for n, name in enumerate(letters)}
        env["log base"] = mp.mpf(10) if start > 1 else mp.e
        try:
            value = formula.value(env)
            out.append(high(value) if mp.isfinite(high(value)) else None)
        except (ArithmeticError, ValueError, TypeError):
            out.append(None)
    return out


def same_formula(a: Formula, b: Formula) -> bool | None:
    """Whether two formulas have equal values; None if that depends on the sign of letters or cannot be computed."""
    if a.exact is not None and b.exact is not None:
        return a.exact == b.exact
    if bool(a.letters - {"log base"}) != bool(b.letters - {"log base"}):
        return None
    mp = math()
    letters = sorted(a.letters | b.letters)
    with mp.workdps(60):
        found: list[bool | None] = []
        for x, y in zip(_values(a, letters), _values(b, letters), strict=True):
            if x is None or y is None:
                continue
            size = max(abs(x), abs(y))
            found.append(True if size == 0 or abs(x - y) <= size * mp.mpf(10) ** -40 else
                         False if abs(x - y) > size * mp.mpf(10) ** -25 else None)  # fmt: skip
    if len(found) < 2 or None in found or len(set(found)) > 1:
        return None
    return found[0]


class Relation(NamedTuple):
    """An equation between letters: the difference of its sides."""

    difference: Formula


def read_relation(text: str) -> Relation | None:
    """The equation between two or more letters that a text is, such as `2x + 3y = 6`; else None."""
    sides = text.split("=")
    if len(sides) != 2 or re.search(r"[<>!:]$", sides[0].rstrip()):
        return None
    left, right = (read_formula(side.strip()) for side in sides)
    if left is None or right is None or len((left.letters | right.letters) - {"log base"}) < 2:
        return None
    a, b = left.value, right.value
    return Relation(Formula(lambda env: high(a(env)) - high(b(env)), left.letters | right.letters, None))


def same_relation(a: Relation, b: Relation) -> bool | None:
    """Whether two equations are one up to a constant factor; None if that cannot be computed."""
    if a.difference.letters != b.difference.letters:
        return None
    letters = sorted(a.difference.letters)
    with math().workdps(60):
        pairs = zip(_values(a.difference, letters), _values(b.difference, letters), strict=True)
        ratios = [x / y for x, y in pairs if x is not None and y]
        if len(ratios) < 3:
            return None
        far = max(abs(one - ratios[0]) for one in ratios)
        size = abs(ratios[0]) * math().mpf(10) ** -25
        return bool(far <= size)


def formula_key(formula: Formula) -> tuple[str, ...]:
    """What two equal formulas share: their values at the points, to 20 digits."""
    mp = math()
    with mp.workdps(60):
        return tuple(
            mp.nstr(value, 20) if value is not None else "" for value in _values(formula, sorted(formula.letters))
        )


def constant(value: Fraction) -> Formula:
    """A number as a formula."""
    return Formula(lambda env: value, frozenset(), value)


def near(formula: Formula, value: Fraction, size: Fraction) -> bool:
    """Whether a formula without variables is at most `size` away from a value."""
    mp = math()
    with mp.workdps(60):
        return bool(abs(_values(formula, [])[0] - high(value)) <= high(size))
