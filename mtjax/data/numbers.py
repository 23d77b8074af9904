"""Numbers as people write them, read exactly: integers, decimals, fractions, mixed numbers, percents, money."""

import re
from fractions import Fraction

_UNSIGNED = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PLAIN = re.compile(rf"{_UNSIGNED}(?:[eE][-+]?[0-9]{{1,3}})?")
_FRACTION = re.compile(rf"({_UNSIGNED}) ?/ ?([-+]?{_UNSIGNED})")
_MIXED = re.compile(r"([0-9]+) ([0-9]+) ?/ ?([0-9]+)")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac *\{([^{}]*)\} *\{([^{}]*)\}")
_LATEX_SHORT_FRACTION = re.compile(r"\\[dt]?frac *([0-9]) *([0-9])")

LONGEST = 400
"""Longer texts than this are not read as a number."""

_SIGNED = rf"[-+−]?[$€£¥]? ?(?:[0-9]+ [0-9]+/[0-9]+|{_UNSIGNED}(?: ?/ ?{_UNSIGNED})?)"

NUMBER_IN_TEXT = re.compile(rf"(?<![\w.,/]){_SIGNED}(?:[eE][-+]?[0-9]{{1,3}}\b)? ?%?")
"""A number within running text, with sign, currency and percent sign; a sign right behind a digit or letter is none."""


def parse_number(text: str) -> tuple[Fraction, bool] | None:
    """The exact value of a number and whether it is a percentage (then the value is still out of 100); else None.

    Reads `-1,234.50`, `1e3`, `3/4`, `1 1/2`, `$12`, `50%`, `\\frac{1}{2}` and the same in `$...$`. Thousands
    separators must stand every three digits. There are no floats on the way.

    >>> parse_number("1 1/2"), parse_number("1,00")
    ((Fraction(3, 2), False), None)
    """
    if len(text) > LONGEST:
        return None
    text = text.strip().replace("−", "-").replace("\\$", "$").replace("\\%", "%").replace("{,}", ",")
    text = re.sub(r"\\[,!; ]", "", text).replace("\\left", "").replace("\\right", "")
    if len(text) > 2 and text.startswith("$") and text.endswith("$"):
        text = text[1:-1].strip()
    text = _LATEX_SHORT_FRACTION.sub(r" \1/\2", _LATEX_FRACTION.sub(r" \1/\2", text))
    text = re.sub(r"^([-+]?) ?[$€£¥]? ?([-+]?) ?(.*?)\.?$", r"\1\2\3", text.strip(), flags=re.DOTALL).strip()
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    sign = -1 if text.startswith("-") else 1
    text = text[1:].strip() if text[:1] in ("-", "+") else text
    value = _unsigned(text)
    return None if value is None else (sign * value, percent)


def _unsigned(text: str) -> Fraction | None:
    if _PLAIN.fullmatch(text):
        return Fraction(text.replace(",", ""))
    if match := _MIXED.fullmatch(text):
        whole, top, bottom = (Fraction(part) for part in match.groups())
        return None if bottom == 0 else whole + top / bottom
    if match := _FRACTION.fullmatch(text):
        top, bottom = (Fraction(part.replace(",", "")) for part in match.groups())
        return None if bottom == 0 else top / bottom
    return None


def same_number(a: tuple[Fraction, bool], b: tuple[Fraction, bool]) -> bool:
    """Exact equality of two `parse_number` results.

    Where one alone is a percentage, both readings of the other count: `50%` equals `0.5`, and it equals `50`, since
    gold answers often leave the sign out ("what percentage ...?").
    """
    if a[1] == b[1]:
        return a[0] == b[0]
    percent, plain = (a[0], b[0]) if a[1] else (b[0], a[0])
    return plain in (percent, percent / 100)
