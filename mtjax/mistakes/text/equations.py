"""Equations within running text, read exactly: `$48 / 2 = <<48/2=24>>24 clips`, `20% of 50 = 10`, `3 boxes x 4 = 12`.

There are no floats and no `eval`: values are fractions. What cannot be read with certainty is no equation; whoever
judges by one also asks that the text beside it, known to be right, reads as true (`mtjax.mistakes.verification`).
"""

import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.mistakes.text.lexer import Token, decimals, is_no_number, lex, number_of, sign_of

_SCALES = "hundred thousand million billion trillion k dozen dozens percent half halves third thirds"
# Words that end a unit: what stands in front of them is another clause, not an operand.
_CLAUSE = """and or so is are was were be then that which because since if when but as with plus minus times equals
equal than to from at in on by the have has had will would leaving leaves leave makes for half twice of"""
_NOT_UNITS = frozenset(_CLAUSE.split())


DEEPEST = 20
"""Brackets within brackets that are read."""


class Equation(NamedTuple):
    """One `expression = number` in a text; positions count from the text's start.

    Attributes:
        start: where the expression starts.
        end: one behind the number on the right, percent sign included.
        tokens: the expression: operands, operators, brackets, currency and percent signs; units are left out.
        right: the number on the right.
        mark: GSM8K's calculator mark in front of that number, start and end; None without.
        percents: whether the right side is a percentage.
        values: the expression's value with percentages as hundredths, and as plain numbers; None: not defined.
        word: the last word in front of the expression, lower case; "" at the start of a line or behind a number.
    """

    start: int
    end: int
    tokens: tuple[Token, ...]
    right: Token
    mark: tuple[int, int] | None
    percents: bool
    values: tuple[Fraction | None, Fraction | None]
    word: str

    @property
    def operands(self) -> list[Token]:
        """The numbers on the left."""
        return [token for token in self.tokens if token.kind == "number"]

    @property
    def operators(self) -> list[Token]:
        """The operators on the left."""
        return [token for token in self.tokens if token.kind == "operator"]

    @property
    def true(self) -> bool:
        """Whether the two sides are equal under some reading of the percent signs."""
        return any(left == right for left in self.values for right in self._right_values)

    @property
    def false(self) -> bool:
        """Whether the sides differ under every reading, and more than rounding explains.

        Rounding is to as many decimals as the right side shows, up or down.
        """
        scales = [10 ** decimals(self.right.text) * (100 if self.percents else 1), 10 ** decimals(self.right.text)]
        return not self.true and all(
            left is not None and right * scale not in (math.floor(left * scale), math.ceil(left * scale))
            for left in self.values
            for right, scale in zip(self._right_values, scales[-len(self._right_values) :], strict=True)
        )

    @property
    def value(self) -> Fraction:
        """The number on the right as it stands, a percentage out of 100."""
        return number_of(self.right)

    @property
    def _right_values(self) -> tuple[Fraction, ...]:
        value = number_of(self.right)
        return (value / 100, value) if self.percents else (value,)


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
    if not any(token.kind == "operator" for token in parts) or any(
        is_no_number(tokens, k) for k in range(first, i) if tokens[k].kind == "number"
    ):
        return None
    plain = evaluate(parts, False)
    if plain is None:
        return None
    values = (evaluate(parts, True) if any(token.kind == "percent" for token in parts) else plain, plain)
    number, start = tokens[right], parts[0].start
    word = tokens[first - 1].text.lower() if first and tokens[first - 1].kind == "word" else ""
    end = tokens[right + percents].end
    return Equation(start, end, tuple(parts), number, marks.get(number.start), percents, values, word)


def _goes_on(tokens: list[Token], i: int) -> bool:
    """Whether the number at i is only the start of something longer, such as `6 * 4` or `3 million`."""
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if is_no_number(tokens, i):
        return True
    if after is not None and after.kind == "word":
        variable = len(after.text) == 1 and (after.start == tokens[i].end or after.text in ("x", "X"))
        if variable or after.text.lower() in _SCALES.split():
            return True
    k = i + 1 + (tokens[i + 1 : i + 2] != [] and tokens[i + 1].kind == "percent")
    while k < len(tokens) and tokens[k].kind == "word" and tokens[k].text.lower() not in _NOT_UNITS:
        k += 1
    behind = [token.kind for token in tokens[k : k + 2]]
    return behind[:1] == ["number"] or (
        behind[:1] in (["operator"], ["open"]) and behind[1:] in (["number"], ["currency"], ["open"])
    )


def _expression(tokens: list[Token], i: int) -> tuple[int, list[Token]]:
    """The longest expression that ends in front of token i: the number of its first token, and its parts."""
    parts: list[Token] = []
    depth, k, first = 0, i - 1, i
    while k >= 0:
        token, after = tokens[k], parts[0] if parts else None
        if token.kind == "word":
            if len(token.text) == 1 and token.start == tokens[k - 1].end:
                return i, []  # a variable, such as `2x`, or a unit that looks like one
            k = _unit_start(tokens, k)
            if k < 0 or (after is not None and after.kind not in ("operator", "close")):
                break
            continue
        if token.kind in ("number", "percent", "currency", "open", "close", "operator"):
            operand_follows = after is not None and after.kind in ("number", "currency")
            if operand_follows and token.kind in ("number", "percent"):
                break  # two numbers side by side belong to two clauses
            if operand_follows and token.kind == "close":
                break
            depth += {"close": 1, "open": -1}.get(token.kind, 0)
            if depth < 0:
                break
            parts.insert(0, token)
            first = k
            k -= 1
            continue
        break
    if depth:  # a bracket that was never opened: what stands behind it is the expression
        cut = opened = 0
        for n, token in enumerate(parts):
            opened += {"open": 1, "close": -1}.get(token.kind, 0)
            if opened < 0:
                cut, opened = n + 1, 0
        parts = parts[cut:]
        first = next((n for n in range(i) if parts and tokens[n] is parts[0]), i)
    return first, parts


def _unit_start(tokens: list[Token], k: int) -> int:
    """The token in front of a unit that ends at k, such as `miles / hour` behind a number; -1 when it is no unit."""
    for _ in range(4):
        token = tokens[k] if k >= 0 else None
        if token is None:
            return -1
        if token.kind in ("number", "percent", "close"):
            return k
        slash = token.text == "/" and tokens[k + 1].kind == "word"
        if not slash and (token.kind != "word" or token.text.lower() in _NOT_UNITS):
            return -1
        k -= 1
    return k if k >= 0 and tokens[k].kind in ("number", "percent", "close") else -1


def evaluate(tokens: Sequence[Token], hundredths: bool) -> Fraction | None:
    """The exact value of an expression; None where it is none, or divides by zero.

    `hundredths` reads `20%` as 1/5, and otherwise as 20. A number in front of a bracket multiplies it. Brackets deeper
    than `DEEPEST` are none that a solution has.
    """
    place = depth = 0

    def peek() -> str:
        return tokens[place].kind if place < len(tokens) else ""

    def chain(inner: Callable[[], Fraction], signs: str) -> Fraction:
        nonlocal place
        value = inner()
        while place < len(tokens):
            sign = sign_of(tokens[place]) if peek() == "operator" else ("*" if peek() == "open" else "")
            if sign not in signs or not sign:
                break
            place += peek() == "operator"
            other = inner()
            value = {"+": value.__add__, "-": value.__sub__, "*": value.__mul__}.get(sign, value.__truediv__)(other)
        return value

    def operand() -> Fraction:
        nonlocal place, depth
        if peek() == "currency":
            place += 1
        if peek() == "open":
            place, depth = place + 1, depth + 1
            if depth > DEEPEST:
                raise ValueError
            value = chain(lambda: chain(operand, "*/"), "+-")
            if peek() != "close":
                raise ValueError
            place, depth = place + 1, depth - 1
        elif peek() == "number":
            value = number_of(tokens[place])
            place += 1
        else:
            raise ValueError
        if peek() == "percent":
            place += 1
            value = value / 100 if hundredths else value
        return value

    try:
        value = chain(lambda: chain(operand, "*/"), "+-")
    except (ValueError, ZeroDivisionError):
        return None
    return value if place == len(tokens) else None
