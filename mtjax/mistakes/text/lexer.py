"""Running text as tokens: numbers, words, operators, and what else an equation is made of."""

import functools
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import LONGEST


class Token(NamedTuple):
    """A piece of text."""

    kind: str  # "number", "word", "operator", "open", "close", "equals", "currency", "percent", "newline" or "other".
    text: str  # As written.
    start: int  # First character.
    end: int  # One after the last character.


_TOKEN = re.compile(
    r"(?P<mark><<[^<>\n]*>>)|(?P<space>[ \t]+)|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"|(?<![0-9])\.[0-9]+)|(?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*)|(?P<operator>[-+*/×÷−–·^]|\\times|\\cdot|\\div)"
    r"|(?P<equals>=)|(?P<currency>[$€£¥])|(?P<percent>%)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<newline>\n)|(?P<other>.)",
    re.DOTALL,
)
_SIGNS = dict.fromkeys(("×", "·", "\\times", "\\cdot", "x", "X", "of"), "*")
_SIGNS |= {"÷": "/", "\\div": "/", "−": "-", "–": "-"}


@functools.lru_cache(maxsize=4096)
def number_of(token: Token) -> Fraction:
    """The value of a number token."""
    return Fraction(token.text.replace(",", ""))


def decimals(text: str) -> int:
    """The number of digits after the point."""
    return len(text.partition(".")[2])


def sign_of(token: Token) -> str:
    """The plain sign of an operator token: one of `+ - * / ^`."""
    return _SIGNS.get(token.text, token.text)


@functools.lru_cache(maxsize=2048)
def lex(text: str) -> tuple[list[Token], dict[int, tuple[int, int]]]:
    """The tokens of a text without white space, and its calculator marks: `{end of the mark: (start, end)}`.

    `x` between two numbers, and `of` after a percentage or a fraction, are operators. Results are cached, because the
    same texts come again while edits are tried: do not change them.
    """
    tokens, marks = [], {}
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if kind == "mark":
            marks[match.end()] = match.span()
        elif kind != "space":
            long = kind == "number" and len(match[0]) > LONGEST
            tokens.append(Token("other" if long else kind, match[0], *match.span()))
    for i in range(1, len(tokens) - 1):
        token, before, after = tokens[i], tokens[i - 1].kind, tokens[i + 1].kind
        times = token.text in ("x", "X") and before in ("number", "percent", "close", "word")
        share = token.text == "of" and (before == "percent" or (before == "number" and tokens[i - 2].text == "/"))
        if (times or share) and after in ("number", "currency", "open"):
            tokens[i] = token._replace(kind="operator")
    return tokens, marks


@functools.lru_cache(maxsize=2048)
def numbers_in(text: str) -> tuple[Token, ...]:
    """The numbers of a text outside calculator marks, without ordinals, times of day, ratios and numbers of a list."""
    tokens, _ = lex(text)
    return tuple(token for i, token in enumerate(tokens) if token.kind == "number" and not is_no_number(tokens, i))


def is_no_number(tokens: Sequence[Token], i: int) -> bool:
    """Whether the digits at i belong to an ordinal, a time of day, a ratio or a list, and so are no quantity."""
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if after and after.start == tokens[i].end and after.text.lower() in ("st", "nd", "rd", "th"):
        return True
    if (i == 0 or tokens[i - 1].kind == "newline") and _numbers_an_item(tokens[i : i + 3]):
        return True
    if after and after.text == ":" and _has_colon(tokens[i : i + 3]):
        return True
    return i > 1 and tokens[i - 1].text == ":" and _has_colon(tokens[i - 2 : i + 1])


def _numbers_an_item(tokens: Sequence[Token]) -> bool:
    """Whether the first tokens of a line are the number of a list item: `2. Eat` or `2) Eat`."""
    if len(tokens) < 3 or tokens[1].text not in (".", ")") or tokens[2].kind == "newline":
        return False
    return tokens[0].end == tokens[1].start and tokens[1].end < tokens[2].start


def _has_colon(tokens: Sequence[Token]) -> bool:
    """Whether three tokens are two numbers joined by a colon."""
    if [token.kind for token in tokens] != ["number", "other", "number"]:
        return False
    return tokens[0].end == tokens[1].start and tokens[1].text == ":" and tokens[1].end == tokens[2].start
