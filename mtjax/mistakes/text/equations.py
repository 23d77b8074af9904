"""Equations within running text, read exactly: `$48 / 2 = <<48/2=24>>24 clips`, `20% of 50 = 10`, `3 boxes x 4 = 12`.

Values are fractions; there are no floats and no `eval`. A text that cannot be read with certainty is not an equation,
and `mtjax.mistakes.verification` also requires that the right text beside it reads as true.
"""

import functools
import math
import operator
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.mistakes.text.lexer import Token, decimals, is_no_number, lex, number_of, sign_of

_SCALE_WORDS = "hundred thousand million billion trillion k dozen dozens percent half halves third thirds"
_SCALES = frozenset(_SCALE_WORDS.split())
# Words that are not part of a unit: the text before them is another clause, not an operand.
_CLAUSE = """and or so is are was were be then that which because since if when but as with plus minus times equals
equal than to from at in on by the have has had will would leaving leaves leave makes for half twice of"""
NOT_UNITS = frozenset(_CLAUSE.split())
"""Words that say nothing about what the number before them counts."""


def _quotient(left: int | Fraction, right: int | Fraction) -> int | Fraction:
    value = Fraction(left, right)
    return value.numerator if value.denominator == 1 else value


_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": _quotient}
_PLAIN = {"number", "operator", "open", "close", "currency"}
DEEPEST = 20  # Levels of nested brackets that are read.

# One letter for the kind of each token lets regular expressions look at sequences of tokens; besides these, "/" is a
# slash, "w" a word that may belong to a unit, "W" one that may not, and "?" anything else.
_LETTERS = {"number": "N", "operator": "o", "open": "(", "close": ")", "currency": "$", "percent": "%", "equals": "="}
_LONGER = re.compile(r"%?w*(?:N|[o/(][N$(])")  # what makes the number before it the start of something longer
_UNIT = re.compile(r"[N%)](?:w|/(?=[wW])){1,4}$")  # an operand with its unit, such as `60 miles / hour`


class Equation(NamedTuple):
    """One `expression = number` in a text; positions count from the text's start."""

    start: int  # Start of the expression.
    end: int  # One after the number on the right, percent sign included.
    tokens: tuple[Token, ...]  # The expression: operands, operators, brackets, currency and percent signs, no units.
    right: Token  # The number on the right.
    mark: tuple[int, int] | None  # Start and end of GSM8K's calculator mark before that number, if there is one.
    percents: bool  # Whether the right side is a percentage.
    values: tuple[Fraction | None, Fraction | None]  # Value with % as hundredths, and as plain numbers; or None.
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
        value = self.value
        for i, left in enumerate(self.values):
            if left is not None and left == value:
                return i, 1
            if left is not None and self.percents and left * 100 == value:
                return i, 100
        return None

    @property
    def true(self) -> bool:
        """Whether the two sides are equal under some reading of the percent signs."""
        return self.reading is not None

    @property
    def false(self) -> bool:
        """Whether the sides differ under every reading, by more than rounding, up or down, to the decimals shown."""
        if self.true:
            return False
        unit = 10 ** decimals(self.right.text)
        shown = self.value * unit
        return all(
            left is not None and shown not in (math.floor(left * factor), math.ceil(left * factor))
            for left in dict.fromkeys(self.values)
            for factor in (unit, 100 * unit)[: 1 + self.percents]
        )


@functools.lru_cache(maxsize=2048)
def equations(text: str) -> tuple[Equation, ...]:
    """The equations of a text in order: an expression with at least one operator, `=`, and one number.

    >>> [(e.values[0], e.true) for e in equations("She has 3 boxes x 4 = 12 pens, so 12 - 5 = $8")]
    [(Fraction(12, 1), True), (Fraction(7, 1), False)]
    """
    if "=" not in text:
        return ()
    tokens, marks = lex(text)
    kinds = "".join(map(_letter, tokens))
    found = (_equation(tokens, kinds, i, marks) for i, kind in enumerate(kinds) if kind == "=")
    return tuple(equation for equation in found if equation is not None)


def holds(text: str) -> bool:
    """Whether no equation of a text is false: of `equations`, and of chains such as `3 + 4 = 8 * 2 = 16`.

    Two calculations of a chain may differ by 2 %, because either may be rounded.
    """
    if any(equation.false for equation in equations(text)):
        return False
    tokens, _ = lex(text) if "=" in text else ([], None)
    kinds = "".join(map(_letter, tokens))
    places = [i for i, kind in enumerate(kinds) if kind == "="]
    for i, j in zip(places, places[1:], strict=False):
        sides = _expression(tokens, kinds, i)[1], [token for token in tokens[i + 1 : j] if token.kind != "word"]
        left, right = (evaluate(parts, False) for parts in sides)
        plain = all({"operator"} <= {token.kind for token in parts} <= _PLAIN for parts in sides)
        if plain and left is not None and right is not None and abs(left - right) * 50 > abs(left):
            return False
    return True


def _letter(token: Token) -> str:
    if token.kind == "word":
        return "W" if token.text.lower() in NOT_UNITS else "w"
    return "/" if token.text == "/" else _LETTERS.get(token.kind, "?")


def _equation(tokens: list[Token], kinds: str, i: int, marks: dict[int, tuple[int, int]]) -> Equation | None:
    """The equation around the equals sign at i."""
    right = i + 1 + (kinds[i + 1 : i + 2] == "$")
    if kinds[right : right + 1] != "N" or _goes_on(tokens, kinds, right):
        return None
    percents = kinds[right + 1 : right + 2] == "%"
    first, parts = _expression(tokens, kinds, i)
    plain, present = evaluate(parts, False), {token.kind for token in parts}
    odd = any(is_no_number(tokens, k) for k in range(first, i) if kinds[k] == "N")
    if plain is None or odd or "operator" not in present:
        return None
    values = (evaluate(parts, True) if "percent" in present else plain, plain)
    number, end = tokens[right], tokens[right + percents].end
    word = tokens[first - 1].text.lower() if first and tokens[first - 1].kind == "word" else ""
    return Equation(parts[0].start, end, tuple(parts), number, marks.get(number.start), percents, values, word)


def _goes_on(tokens: list[Token], kinds: str, i: int) -> bool:
    """Whether the number at i is only the start of something longer, such as `6 * 4` or `3 million`."""
    if is_no_number(tokens, i) or _LONGER.match(kinds, i + 1):
        return True
    if kinds[i + 1 : i + 2].lower() != "w":
        return False
    after = tokens[i + 1]
    variable = len(after.text) == 1 and (after.start == tokens[i].end or after.text in ("x", "X"))
    return variable or after.text.lower() in _SCALES


def _expression(tokens: list[Token], kinds: str, i: int) -> tuple[int, list[Token]]:
    """The longest expression that ends before token i: the number of its first token, and its parts."""
    back: list[Token] = []
    depth, k = 0, i - 1
    while k >= 0:
        token, kind, after = tokens[k], kinds[k], back[-1].kind if back else ""
        if kind in "wW":
            if len(token.text) == 1 and token.start == tokens[k - 1].end:
                return i, []  # a variable, such as `2x`, or a unit that looks like one
            unit = _UNIT.search(kinds, max(k - 4, 0), k + 1)
            if unit is None or after not in ("", "operator", "close"):
                break
            k = unit.start()
            continue
        # Two numbers side by side belong to two clauses.
        apart = after in ("number", "currency") and kind in "N%)"
        if kind in "=?" or apart or (kind == "(" and not depth):
            break
        depth += {")": 1, "(": -1}.get(kind, 0)
        back.append(token)
        k -= 1
    parts = back[::-1]
    if depth:  # a bracket that was never opened: the expression starts after it
        opened = unopened = 0
        for n, token in enumerate(parts):
            opened += {"open": 1, "close": -1}.get(token.kind, 0)
            if opened < 0:
                opened, unopened = 0, n + 1
        parts = parts[unopened:]
    return tokens.index(parts[0], k + 1) if parts else i, parts


def evaluate(tokens: Sequence[Token], hundredths: bool) -> Fraction | None:
    """The exact value of an expression; None if it is not one, divides by zero, or nests deeper than `DEEPEST`.

    `hundredths` reads `20%` as 1/5, and otherwise as 20. A number before a bracket multiplies it.
    """
    try:
        value, end = _chain(tokens, 0, 0, 0, hundredths)
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return Fraction(value) if end == len(tokens) else None


def _chain(tokens: Sequence[Token], at: int, level: int, depth: int, hundredths: bool) -> tuple[int | Fraction, int]:
    """A sum (level 0) of products (level 1) of operands from token `at` on, within `depth` brackets; and its end."""
    read = functools.partial(_chain, level=1) if not level else _operand
    value, at = read(tokens, at, depth=depth, hundredths=hundredths)
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "operator" and (sign := sign_of(token)) in ("+-", "*/")[level]:
            at += 1
        elif token.kind == "open" and level:
            sign = "*"
        else:
            break
        other, at = read(tokens, at, depth=depth, hundredths=hundredths)
        value = _OPERATIONS[sign](value, other)
    return value, at


def _operand(tokens: Sequence[Token], at: int, depth: int, hundredths: bool) -> tuple[int | Fraction, int]:
    """A number or an expression in brackets, with its currency or percent sign; and its end."""
    value: int | Fraction
    at += tokens[at].kind == "currency"
    token, at = tokens[at], at + 1
    if token.kind == "open" and depth < DEEPEST:
        value, at = _chain(tokens, at, 0, depth + 1, hundredths)
        if tokens[at].kind != "close":
            raise ValueError
        at += 1
    elif token.kind == "number":
        value = number_of(token)
        value = value.numerator if value.denominator == 1 else value  # whole numbers are quicker
    else:
        raise ValueError
    if at < len(tokens) and tokens[at].kind == "percent":
        return (Fraction(value, 100) if hundredths else value), at + 1
    return value, at
