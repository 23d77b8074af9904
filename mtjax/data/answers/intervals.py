"""Intervals, inequalities, and unions of them."""

import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers.groups import Same, split
from mtjax.data.answers.numbers import read_number


class Interval(NamedTuple):
    """Numbers between two ends; an end is None where there is none."""

    low: str | None
    high: str | None
    closed_low: bool
    closed_high: bool


class Intervals(NamedTuple):
    """A union of intervals, from left to right."""

    parts: tuple[Interval, ...]
    letter: str = ""  # the letter of an inequality


def ends(group: Intervals) -> list[str]:
    """The texts of the ends of all parts."""
    return [end for part in group.parts for end in (part.low, part.high) if end is not None]


_ABSOLUTE = re.compile(r"(?:\||\\lvert )(?P<letter>[A-Za-z])(?:\||\\rvert) ?(?P<sign><=?|\\le) ?(?P<size>[\d./]+)")
_ALL = re.compile(
    r"(?:[A-Za-z] (?:can be |is )?(?:\\in ?)?)?(?:R|(?:all|any|every) real numbers?|all reals)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"(?P<letter>[A-Za-z]) (?:is|lies|must be) (?:strictly )?between (?P<low>[-\d./]+) and (?P<high>[-\d./]+)"
    r"(?P<closed>,? ?\(?inclusive\)?)?"
)
_OPEN_SIDE = re.compile(r"([<>]=?|\\le |\\ge |\\le|\\ge)")
_MORE = {
    "<": (False, False), "<=": (False, True), "\\le": (False, True),
    ">": (True, False), ">=": (True, True), "\\ge": (True, True),
}  # fmt: skip
"""Whether an inequality bounds its left side from below, and whether the bound belongs to it."""


_SPOKEN = (
    (re.compile(r" (?:is |are )?(?:strictly |always )?(?:greater|more|larger|bigger) than or equal to "), r" \\ge "),
    (re.compile(r" (?:is |are )?(?:strictly |always )?(?:less|smaller) than or equal to "), r" \\le "),
    (re.compile(r" (?:is |are )?(?:strictly |always )?(?:greater|more|larger|bigger) than "), " > "),
    (re.compile(r" (?:is |are )?(?:strictly |always )?(?:less|smaller) than "), " < "),
    (re.compile(r" (?:is |must be )?at least "), r" \\ge "),
    (re.compile(r" (?:is |must be )?at most "), r" \\le "),
)
"""How an inequality is said behind its letter."""
_TURNED = str.maketrans("<>", "><")


def read_intervals(text: str) -> Intervals | None:
    r"""The intervals that a text is: `(1, 5]`, `1 < x \le 5`, `x > 5`, a union of them; else None."""
    text = re.sub(r"^(?:the )?(?:(?:open|closed|half-open) )?interval (?=[(\[])", "", text, flags=re.I)
    text = re.sub(
        r"^(?:(?:for )?all )?(?:real )?(?:numbers? |values? )?(?:of )?(?=[A-Za-z] ?(?:[<>]|\\[lg]e))",
        "",
        text,
        flags=re.I,
    )
    text = re.sub(r"^Either (?=[A-Za-z] ?[<>=\\])", "", text, flags=re.I)
    text = re.sub(r"^\\?\{ ?([A-Za-z])(?: ?\\in ?[^|:\\]+)? ?(?:\\mid|[|:]) ?(\1 .*?) ?\\?\}$", r"\2", text)
    text = re.sub(r"^[A-Za-z] ?(?:\\in|(?<= )is in|(?<= )in) ?(?=[(\[\]])", "", text)
    text = re.sub(
        r"^(?:all )?(?:the )?(?:real )?numbers (?=(?:that are )?(?:strictly )?(?:greater|less|more|smaller|at))",
        "x ",
        text,
        flags=re.I,
    )
    text = text.replace("x that are ", "x ")
    text = re.sub(r"^(?=(?:[<>]=?|\\[lg]e\b) ?[-\\\d])", "x ", text)
    text = re.sub(
        r"^(?:the )?(?:solution(?: set)?|domain|range) is (?:the set of )?(?:all )?(?:real )?(?:numbers |values of "
        r")?(?=[A-Za-z] )",
        "", text, flags=re.I,
    )  # fmt: skip
    if _ALL.fullmatch(text):
        return Intervals((Interval(None, None, False, False),))
    if between := _BETWEEN.fullmatch(text):
        sign = "\\le" if between["closed"] else "<"
        text = f"{between['low']} {sign} {between['letter']} {sign} {between['high']}"
    text = re.sub(r",? (?:i\.e\.|that is),? all .*$", "", text)
    if absolute := _ABSOLUTE.fullmatch(text):
        text = f"-{absolute['size']} {absolute['sign']} {absolute['letter']} {absolute['sign']} {absolute['size']}"
    if re.match(r"[A-Za-z] ", text):
        for said, sign in _SPOKEN:
            text = said.sub(sign, text)
    sides, letters = re.split(r"\\cup ?|\bU\b", text), set[str]()
    if len(sides) == 1 and re.search(r"[<>]|\\[lg]e\b", text):
        sides = re.split(r",? or ", text)
        letters |= {letter for side in sides for letter in re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", side)}
        if len(letters) > 1:
            return None
    parts = [part for side in sides if (part := _interval(side.strip())) is not None]
    if len(parts) < len(sides):
        return None
    return Intervals(tuple(sorted(parts, key=lambda part: part.low is not None)), "".join(letters))


def _interval(text: str) -> Interval | None:
    reverse = re.fullmatch(r"([\]\[])([^\[\]()]+)([\]\[])", text)  # ]2, 5[
    if reverse and (reverse[1], reverse[3]) != ("[", "]"):
        text = ("[" if reverse[1] == "[" else "(") + reverse[2] + ("]" if reverse[3] == "]" else ")")
    if text[:1] in ("(", "[") and text[-1:] in (")", "]"):
        ends = split(text[1:-1])
        if len(ends) != 2 or not all(ends):
            return None
        low, high = (None if "\\infty" in end else end for end in ends)
        return Interval(low, high, text[0] == "[", text[-1] == "]")
    pieces = [piece.strip() for piece in _OPEN_SIDE.split(text)]
    letter = re.compile(r"[A-Za-z]")
    if len(pieces) == 3:
        left, sign, right = pieces
        if letter.fullmatch(right) and not letter.fullmatch(left):
            left, right = right, left
            sign = sign.translate(_TURNED) if sign[0] in "<>" else {"\\le": "\\ge", "\\ge": "\\le"}[sign]
        if not letter.fullmatch(left) or letter.fullmatch(right):
            return None
        above, closed = _MORE[sign]
        return Interval(right, None, closed, False) if above else Interval(None, right, False, closed)
    if len(pieces) == 5 and letter.fullmatch(pieces[2]):
        (up, closed_low), (up_too, closed_high) = _MORE[pieces[1]], _MORE[pieces[3]]
        if up != up_too:
            return None
        low, high = (pieces[4], pieces[0]) if up else (pieces[0], pieces[4])
        low, high = (None if "\\infty" in end else end for end in (low, high))
        return Interval(low, high, *((closed_high, closed_low) if up else (closed_low, closed_high)))
    return None


def same_intervals(a: Intervals, b: Intervals, same: Same) -> bool | None:
    """Whether two unions of intervals are equal, part by part; of other letters they may be either."""
    if a.letter and b.letter and a.letter != b.letter:
        return None
    if (merged := (_merged(a), _merged(b))) and None not in merged:
        return merged[0] == merged[1]
    if len(a.parts) != len(b.parts):
        open_ends = [[(part.low is None, part.high is None) for part in one.parts] for one in (a, b)]
        open_low, open_high = (len({any(end[side] for end in one) for one in open_ends}) > 1 for side in (0, 1))
        return False if (open_low or open_high) and all(same(end, end) for end in (*ends(a), *ends(b))) else None
    found: list[bool | None] = []
    for x, y in zip(a.parts, b.parts, strict=True):
        for end, other in ((x.low, y.low), (x.high, y.high)):
            found.append(end is other if end is None or other is None else same(end, other))
        found.append((x.closed_low, x.closed_high) == (y.closed_low, y.closed_high))
    return False if False in found else None if None in found else True


class _Part(NamedTuple):
    """An interval with rational ends."""

    low: Fraction | None
    closed_low: bool
    high: Fraction | None
    closed_high: bool


def _merged(union: Intervals) -> list[_Part] | None:
    """A union with rational ends as parts that neither overlap nor touch, from left to right; else None."""
    parts = [_part(one) for one in union.parts]
    out: list[_Part] = []
    for part in sorted(
        (one for one in parts if one), key=lambda one: (one.low is not None, one.low or Fraction(0), not one.closed_low)
    ):
        if out and _touch(out[-1], part):
            out[-1] = _joined(out[-1], part)
        else:
            out.append(part)
    return None if None in parts else out


def _part(one: Interval) -> _Part | None:
    ends = [None if end is None else read_number(end) for end in (one.low, one.high)]
    if any(
        text is not None and (end is None or end.words) for text, end in zip((one.low, one.high), ends, strict=True)
    ):
        return None
    low, high = (end and end.value for end in ends)
    if (
        low is not None
        and high is not None
        and (low > high or low == high and not (one.closed_low and one.closed_high))
    ):
        return None
    return _Part(low, one.closed_low and low is not None, high, one.closed_high and high is not None)


def _joined(first: _Part, second: _Part) -> _Part:
    if first.high is None or second.high is None:
        return first._replace(high=None, closed_high=False)
    high, closed = max((first.high, first.closed_high), (second.high, second.closed_high))
    return first._replace(high=high, closed_high=closed)


def _touch(first: _Part, second: _Part) -> bool:
    if first.high is None or second.low is None:
        return True
    return second.low < first.high or second.low == first.high and (first.closed_high or second.closed_low)
