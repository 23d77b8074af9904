"""Equations within running text, read exactly: `$48 / 2 = <<48/2=24>>24 clips`, `20% of 50 = 10`, `3 boxes x 4 = 12`.

Values are fractions; there are no floats and no `eval`. A text that cannot be read with certainty is not an equation,
and `mtjax.mistakes.verification` also requires that the right text beside it reads as true.
"""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.mistakes.text.lexer import Token, decimals, is_no_number, lex, number_of, sign_of

_SCALE_WORDS = "hundred thousand million billion trillion k dozen dozens percent half halves third thirds"
_SCALES = frozenset(_SCALE_WORDS.split())
# Words that are not part of a unit: the text before them is another clause, not an operand.
_CLAUSE = """and or so is are was were be then that which because since if when but as with plus minus times equals
equal than to from at in on by the have has had will would leaving leaves leave makes for half twice of"""
_NOT_UNITS = frozenset(_CLAUSE.split())

DEEPEST = 20
"""Levels of nested brackets that are read."""


class Equation(NamedTuple):
    """One `expression = number` in a text; positions count from the text's start."""

    start: int  # Start of the expression.
    end: int  # One after the number on the right, percent sign included.
    tokens: tuple[Token, ...]  # The expression: operands, operators, brackets, currency and percent signs, no units.
    right: Token  # The number on the right.
    mark: tuple[int, int] | None  # Start and end of GSM8K's calculator mark before that number, if there is one.
    percents: bool  # Whether the right side is a percentage.
    values: tuple[Fraction | None, Fraction | None]
    """The expression's value with percentages as hundredths, and with percentages as plain numbers; None: undefined."""
    word: str  # The last word before the expression, lower case; "" at the start of a line or after a number.

    @property
    def operands(self) -> list[Token]:
        """The numbers on the left."""
        return [token for token in self.tokens if token.kind == "number"]

    @property
    def operators(self) -> list[Token]:
        """The operators on the left."""
        return [token for token in self.tokens if token.kind == "operator"]

    @property
    def value(self) -> Fraction:
        """The number on the right as written, a percentage out of 100."""
        return number_of(self.right)

    @property
    def reading(self) -> tuple[int, int] | None:
        """How it reads as true: which of `values` counts, and the factor from that to `value`; None if it is not."""
        readings = ((i, factor) for i in range(2) for factor in self._factors)
        return next(
            ((i, n) for i, n in readings if (left := self.values[i]) is not None and left * n == self.value), None
        )

    @property
    def true(self) -> bool:
        """Whether the two sides are equal under some reading of the percent signs."""
        return self.reading is not None

    @property
    def false(self) -> bool:
        """Whether the sides differ under every reading, by more than rounding, up or down, to the decimals shown."""
        unit = 10 ** decimals(self.right.text)
        return not self.true and all(
            left is not None and self.value * unit not in (math.floor(left * n * unit), math.ceil(left * n * unit))
            for left in self.values
            for n in self._factors
        )

    @property
    def _factors(self) -> tuple[int, ...]:
        return (1, 100) if self.percents else (1,)


@functools.lru_cache(maxsize=2048)
def equations(text: str) -> tuple[Equation, ...]:
    """The equations of a text in order: an expression with at least one operator, `=`, and one number.

    >>> [(e.values[0], e.true) for e in equations("She has 3 boxes x 4 = 12 pens, so 12 - 5 = $8")]
    [(Fraction(12, 1), True), (Fraction(7, 1), False)]
    """
    if "=" not in text:
        return ()
    tokens, marks = lex(text)
    found = (_equation(tokens, i, marks) for i, token in enumerate(tokens) if token.kind == "equals")
    return tuple(equation for equation in found if equation is not None)


def _equation(tokens: list[Token], i: int, marks: dict[int, tuple[int, int]]) -> Equation | None:
    """The equation around the equals sign at i."""
    right = i + 1 + (i + 1 < len(tokens) and tokens[i + 1].kind == "currency")
    if right >= len(tokens) or tokens[right].kind != "number" or _goes_on(tokens, right):
        return None
    percents = right + 1 < len(tokens) and tokens[right + 1].kind == "percent"
    first, parts = _expression(tokens, i)
    plain, kinds = evaluate(parts, False), {token.kind for token in parts}
    odd = any(is_no_number(tokens, k) for k in range(first, i) if tokens[k].kind == "number")
    if plain is None or odd or "operator" not in kinds:
        return None
    values = (evaluate(parts, True) if "percent" in kinds else plain, plain)
    number, end = tokens[right], tokens[right + percents].end
    word = tokens[first - 1].text.lower() if first and tokens[first - 1].kind == "word" else ""
    return Equation(parts[0].start, end, tuple(parts), number, marks.get(number.start), percents, values, word)


def _goes_on(tokens: list[Token], i: int) -> bool:
    """Whether the number at i is only the start of something longer, such as `6 * 4` or `3 million`."""
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if is_no_number(tokens, i):
        return True
    if after is not None and after.kind == "word":
        variable = len(after.text) == 1 and (after.start == tokens[i].end or after.text in ("x", "X"))
        if variable or after.text.lower() in _SCALES:
            return True
    k = i + 1 + (after is not None and after.kind == "percent")
    while k < len(tokens) and tokens[k].kind == "word" and tokens[k].text.lower() not in _NOT_UNITS:
        k += 1
    first, second = (*(token.kind for token in tokens[k : k + 2]), "", "")[:2]
    return first == "number" or (first in ("operator", "open") and second in ("number", "currency", "open"))


_PARTS = frozenset({"number", "percent", "currency", "open", "close", "operator"})


def _expression(tokens: list[Token], i: int) -> tuple[int, list[Token]]:
    """The longest expression that ends before token i: the number of its first token, and its parts."""
    parts: list[Token] = []
    depth, k = 0, i - 1
    while k >= 0:
        token, after = tokens[k], parts[0].kind if parts else ""
        if token.kind == "word":
            if len(token.text) == 1 and token.start == tokens[k - 1].end:
                return i, []  # a variable, such as `2x`, or a unit that looks like one
            k = _unit_start(tokens, k)
            if k < 0 or after not in ("", "operator", "close"):
                break
            continue
        # Two numbers side by side belong to two clauses.
        apart = after in ("number", "currency") and token.kind in ("number", "percent", "close")
        if token.kind not in _PARTS or apart or (token.kind == "open" and not depth):
            break
        depth += {"close": 1, "open": -1}.get(token.kind, 0)
        parts.insert(0, token)
        k -= 1
    if depth:  # a bracket that was never opened: the expression starts after it
        cut = opened = 0
        for n, token in enumerate(parts):
            opened += {"open": 1, "close": -1}.get(token.kind, 0)
            if opened < 0:
                cut, opened = n + 1, 0
        parts = parts[cut:]
    return tokens.index(parts[0]) if parts else i, parts


def _unit_start(tokens: list[Token], k: int) -> int:
    """The token before a unit that ends at k, such as `miles / hour` after a number; -1 if it is not a unit."""
    for j in range(k, max(k - 5, -1), -1):
        token = tokens[j]
        if token.kind in ("number", "percent", "close"):
            return j
        slash = token.text == "/" and tokens[j + 1].kind == "word"
        if not slash and (token.kind != "word" or token.text.lower() in _NOT_UNITS):
            break
    return -1


def evaluate(tokens: Sequence[Token], hundredths: bool) -> Fraction | None:
    """The exact value of an expression; None if it is not one, divides by zero, or nests deeper than `DEEPEST`.

    `hundredths` reads `20%` as 1/5, and otherwise as 20. A number before a bracket multiplies it.
    """
    rest = list(reversed(tokens))

    def kind() -> str:
        return rest[-1].kind if rest else ""

    def total(depth: int) -> Fraction:
        value = product(depth)
        while kind() == "operator" and sign_of(rest[-1]) in "+-":
            value += product(depth) if sign_of(rest.pop()) == "+" else -product(depth)
        return value

    def product(depth: int) -> Fraction:
        value = operand(depth)
        while kind() == "open" or (kind() == "operator" and sign_of(rest[-1]) in "*/"):
            divide = kind() == "operator" and sign_of(rest.pop()) == "/"
            other = operand(depth)
            value = value / other if divide else value * other
        return value

    def operand(depth: int) -> Fraction:
        if kind() == "currency":
            rest.pop()
        token = rest.pop()
        if token.kind == "open" and depth < DEEPEST:
            value = total(depth + 1)
            if rest.pop().kind != "close":
                raise ValueError
        elif token.kind == "number":
            value = number_of(token)
        else:
            raise ValueError
        if kind() == "percent":
            rest.pop()
            value = value / 100 if hundredths else value
        return value

    try:
        value = total(0)
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return None if rest else value
