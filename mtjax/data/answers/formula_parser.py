"""The parser of formulas: a recursive descent over the signs of mathematics and of LaTeX."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from mtjax.data.answers.normal import listed

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|\\(?P<command>[A-Za-z]+)|(?P<letter>[A-Za-z])|(?P<sign>[-+*/^_(){}\[\]]))"
)
FUNCTIONS = frozenset(listed("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt"))
_GREEK = frozenset(listed("alpha beta gamma delta theta lambda mu phi omega rho sigma tau epsilon varphi"))
_LARGEST_POWER = 10_000
Env = Mapping[str, Any]
Node = Callable[[Env], Any]


class Formula(NamedTuple):
    """A formula that was read whole."""

    value: Node  # its value at a point, given as numbers of its letters; raises ArithmeticError or ValueError
    letters: frozenset[str]  # its variables
    exact: Fraction | None  # its value, if it has no variables and needs no roots


class _Unreadable(Exception):
    """Text that is not a formula of this grammar."""


def math() -> Any:
    """mpmath, imported when it is first needed."""
    import mpmath

    return mpmath


class _Parser:
    """A recursive descent over tokens; every method reads one level and returns a node."""

    def __init__(self, text: str):
        self.tokens: list[tuple[str, str]] = []
        self.gaps: list[bool] = []
        self.letters: set[str] = set()
        self.rational = True
        at = 0
        while at < len(text.rstrip()):
            found = _TOKEN.match(text, at)
            if found is None:
                raise _Unreadable
            kind = str(found.lastgroup)
            word = found[kind]
            self.tokens.append((kind, word))
            self.gaps.append(text[at : at + 1].isspace())
            at = found.end()
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self, *signs: str) -> str | None:
        kind, word = self.peek()
        if kind in ("sign", "command") and word in signs:
            self.at += 1
            return word
        return None

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise _Unreadable

    def whole(self) -> Node:
        node = self.sum()
        if self.at < len(self.tokens):
            raise _Unreadable
        return node

    def sum(self) -> Node:
        sign = self.take("-", "+")
        node = self.product()
        if sign == "-":
            node = _negative(node)
        while sign := self.take("+", "-"):
            left, right = node, self.product()
            node = _binary(left, right if sign == "+" else _negative(right), lambda a, b: a + b)
        return node

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.take("*", "times"):
                node = _binary(node, self.signed(), lambda a, b: a * b)
            elif self.take("/"):
                node = _binary(node, self.signed(), _divide)
            elif self._joined():
                node = _binary(node, self.power(), lambda a, b: a * b)
            else:
                return node

    def _joined(self) -> bool:
        """Whether a factor follows without a sign: `2x`, `(a)(b)`; a number never does, and no bracket behind a gap."""
        kind, word = self.peek()
        if kind == "letter" or (kind == "command" and word not in ("times", "cdot")):
            return True
        if kind == "sign" and word == "(":
            if self.gaps[self.at] and self.tokens[self.at - 1][0] == "number":
                raise _Unreadable
            return True
        if kind == "number":
            raise _Unreadable
        return False

    def signed(self) -> Node:
        return _negative(self.power()) if self.take("-") else self.power()

    def power(self) -> Node:
        base = self.atom()
        if self.take("^"):
            base = _binary(base, self.group(), _power)
        return base

    def group(self) -> Node:
        """An argument: a group in braces, or one token."""
        if self.take("{"):
            node = self.sum()
            self.need("}")
            return node
        sign = self.take("-")
        kind, word = self.peek()
        node = self.atom() if kind != "number" else self.number()
        return _negative(node) if sign else node

    def digit(self) -> Node:
        """An argument of `\\frac12` or `\\sqrt2`: a group, or one digit."""
        kind, word = self.peek()
        if kind == "number" and len(word) > 1 and word.isdigit():
            self.tokens[self.at : self.at + 1] = [("number", word[0]), ("number", word[1:])]
            self.gaps.insert(self.at, False)
        return self.group()

    def number(self) -> Node:
        value = Fraction(self.peek()[1])
        self.at += 1
        return lambda env: value

    def atom(self) -> Node:
        kind, word = self.peek()
        if kind == "number":
            return self.number()
        if self.take("("):
            return self.closed(")")
        if self.take("["):
            return self.closed("]")
        if self.take("{"):
            return self.closed("}")
        self.at += 1
        if kind == "letter" or (kind == "command" and word in _GREEK):
            if word in ("e", "i"):
                self.rational = False
                return (lambda env: math().e) if word == "e" else (lambda env: math().mpc(0, 1))
            self.letters.add(word)
            return lambda env: env[word]
        if kind != "command":
            raise _Unreadable
        if word == "pi":
            self.rational = False
            return lambda env: +math().pi
        if word == "frac":
            return _binary(self.digit(), self.digit(), _divide)
        if word == "sqrt":
            degree = self.closed("]") if self.take("[") else None
            return self.root(self.digit(), degree)
        if word in FUNCTIONS:
            return self.function(word)
        raise _Unreadable

    def closed(self, end: str) -> Node:
        node = self.sum()
        self.need(end)
        return node

    def root(self, node: Node, degree: Node | None) -> Node:
        self.rational = False
        if degree is None:
            return lambda env: math().sqrt(high(node(env)))
        return lambda env: math().root(high(node(env)), int(degree(env)))

    def function(self, name: str) -> Node:
        self.rational = False
        base = self.group() if name == "log" and self.take("_") else None
        raised = self.group() if self.take("^") else None
        argument = self.atom_of_function()
        if name == "log" and base is None:
            self.letters.add("log base")  # natural or of ten: the base is as unknown as a variable

            def node(env: Env) -> Any:
                return math().log(high(argument(env))) / math().log(env["log base"])
        elif base is not None:
            below = base

            def node(env: Env) -> Any:
                return math().log(high(argument(env))) / math().log(high(below(env)))
        else:
            call = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan"}.get(name, name)

            def node(env: Env) -> Any:
                return getattr(math(), call)(high(argument(env)))

        return node if raised is None else _binary(node, raised, _power)

    def atom_of_function(self) -> Node:
        """What a function is of: a bracket, or a product without brackets, as in `sin 2x`."""
        node = self.power()
        while self.peek()[0] == "letter" or (
            self.peek()[0] == "command" and self.peek()[1] not in FUNCTIONS | {"times"}
        ):
            node = _binary(node, self.power(), lambda a, b: a * b)
        return node


def high(value: Any) -> Any:
    """A value as a number of mpmath."""
    return math().mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _binary(left: Node, right: Node, do: Callable[[Any, Any], Any]) -> Node:
    def node(env: Env) -> Any:
        a, b = left(env), right(env)
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return do(a, b)
        return do(high(a), high(b))

    return node


def _negative(node: Node) -> Node:
    return lambda env: -node(env)


def _divide(a: Any, b: Any) -> Any:
    return a / b


def _power(a: Any, b: Any) -> Any:
    if isinstance(b, Fraction) and abs(b) > _LARGEST_POWER:
        raise ValueError("too large")
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        if b.denominator == 1:
            if abs(b) * max(a.numerator.bit_length(), a.denominator.bit_length()) > 100_000:
                raise ValueError("too large")
            return a ** int(b)
        a, b = high(a), high(b)
    if abs(b) > _LARGEST_POWER:
        raise ValueError("too large")
    return a**b


def parse(text: str) -> Formula | None:
    """The formula that a text is; None if any of it cannot be read, or it cannot be computed."""
    try:
        parser = _Parser(text)
        node = parser.whole()
        value = None if parser.letters else node({})
    except (_Unreadable, ArithmeticError, ValueError, TypeError, RecursionError, LookupError):
        return None
    return Formula(node, frozenset(parser.letters), value if isinstance(value, Fraction) and parser.rational else None)
