"""Running text in pieces: numbers, words, operators, and what else an equation is made of."""

import functools
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import LONGEST


class Token(NamedTuple):
    """A piece of text.

    Attributes:
        kind: "number", "word", "operator", "open", "close", "equals", "currency", "percent", "newline" or "other".
        text: as it stands.
        start: first character.
        end: one behind the last.
    """

    kind: str
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"(?P<mark><<[^<>\n]*>>)|(?P<space>[ \t]+)|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"|(?<![0-9])\.[0-9]+)|(?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*)|(?P<operator>[-+*/×÷−–·^]|\\times|\\cdot|\\div)"
    r"|(?P<equals>=)|(?P<currency>[$€£¥])|(?P<percent>%)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<newline>\n)|(?P<other>.)",
    re.DOTALL,
)

SIGNS = {"×": "*", "·": "*", "\\times": "*", "\\cdot": "*", "x": "*", "X": "*", "of": "*", "÷": "/", "\\div": "/"} | {
    "−": "-",
    "–": "-",
}
"""Other ways to write an operator."""

_ORDINALS = frozenset({"st", "nd", "rd", "th"})


def number_of(token: Token) -> Fraction:
    """The value of a number token."""
    return _fraction(token.text)


@functools.lru_cache(maxsize=4096)
def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def decimals(text: str) -> int:
    """How many digits stand behind the point."""
    return len(text.partition(".")[2])


def sign_of(token: Token) -> str:
    """The plain sign of an operator token: one of `+ - * / ^`."""
    return SIGNS.get(token.text, token.text)


@functools.lru_cache(maxsize=2048)
def lex(text: str) -> tuple[list[Token], dict[int, tuple[int, int]]]:
    """The tokens of a text without white space, and its calculator marks: `{end of the mark: (start, end)}`.

    Texts come again and again while edits are tried, so the last ones are kept; do not change what is returned.
    """
    tokens, marks = [], {}
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        kind = "other" if kind == "number" and len(match[0]) > LONGEST else kind
        if kind == "mark":
            marks[match.end()] = match.span()
        elif kind != "space":
            tokens.append(Token(kind, match[0], *match.span()))
    return _with_signs(tokens), marks


def _with_signs(tokens: list[Token]) -> list[Token]:
    """`x` between two numbers, and `of` behind a percentage or a fraction, are operators."""
    out = list(tokens)
    for i, token in enumerate(tokens):
        if token.kind != "word" or not 0 < i < len(tokens) - 1:
            continue
        after, before = tokens[i + 1].kind in ("number", "currency", "open"), tokens[i - 1].kind
        times = token.text in ("x", "X") and before in ("number", "percent", "close", "word")
        share = token.text == "of" and (before == "percent" or (before == "number" and tokens[i - 2].text == "/"))
        if after and (times or share):
            out[i] = token._replace(kind="operator")
    return out


def numbers_in(text: str) -> list[Token]:
    """The numbers of a text outside calculator marks; ordinals and times of day are none."""
    tokens, _ = lex(text)
    return [token for i, token in enumerate(tokens) if token.kind == "number" and not is_no_number(tokens, i)]


def is_no_number(tokens: Sequence[Token], i: int) -> bool:
    """Whether the digits at i belong to an ordinal, a time of day or a ratio, and so are no quantity."""
    if i + 1 < len(tokens) and tokens[i + 1].start == tokens[i].end and tokens[i + 1].text.lower() in _ORDINALS:
        return True
    return _colon(tokens[i : i + 3]) or (i > 1 and _colon(tokens[i - 2 : i + 1]))


def _colon(three: Sequence[Token]) -> bool:
    """Whether three tokens are two numbers with a colon between, and nothing else."""
    kinds = [token.kind for token in three]
    joined = all(a.end == b.start for a, b in zip(three, three[1:], strict=False))
    return kinds == ["number", "other", "number"] and three[1].text == ":" and joined
