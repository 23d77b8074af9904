"""What an equation gives: the value of a letter, the result of a computation, what a label stands for."""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from mtjax.data.answers import formulas, numbers
from mtjax.data.answers.computed import computed_number
from mtjax.data.answers.phrases import settled


class Reading(NamedTuple):
    """What an answer may be."""

    text: str  # in the spelling of `normal.plain`
    values: Mapping[str, Any]  # each value by its kind; empty if the text is no value and nothing else
    name: str = ""  # the letter that an equation gives the value to, such as "x"
    unit: str = ""  # what stands behind a formula, such as "cm"


EQUALS = re.compile(r"(?<![<>!=:])=(?!=)|\\approx")
_NAME = re.compile(
    r"(?:m ?)?\\angle ?[A-Z]{1,3}|[A-Z](?: ?\\(?:cap|cup) ?[A-Z])+|"
    r"[A-Za-z](?:_\{?\w+\}?)?'{0,2}(?:(?:\^\{?-1\}?)?\([A-Za-z0-9, |']+\))?"
)
_LABEL = re.compile(rf"[A-Za-z][A-Za-z'-]+(?:[ :,]+[A-Za-z][A-Za-z'-]+)*[ :]*(?: (?P<name>{_NAME.pattern}))?")
_TWO_LABELS = re.compile(
    r"[^A-Za-z=]*\d[^,=]*,? (?:and )?(?!so|thus|hence|then|therefore|total|giving|which|that|the total)[A-Za-z]{3,}"
    r"(?: [A-Za-z]+)?", re.IGNORECASE,
)  # fmt: skip
"""Between `Perimeter = 22, area = 30`, which states two values."""
_SUM = re.compile(r"[A-Za-z](?: ?[-+] ?[A-Za-z])+")  # m + n, which may be asked for, or given
_TIMES = re.compile(r"\\[A-Za-z]+|(?<=[0-9])\s*[xX]\s*(?=[0-9])")
_SAID_FIRST = re.compile(
    r"^(?:[A-Za-z][A-Za-z'-]*,? )*(?:is|was|are|were|of|be|gives|get|total|has|have|makes|costs?|comes to)(?: a)?"
    r"(?: total)?(?: of)? (?=[-$(\\]*[0-9])"
)
_CALLED = re.compile(r"(?<![A-Za-z\\])[A-Za-z]'{0,2}\([-0-9., ]+\)")  # f(-2)
_UNDONE = re.compile(r"\d / \d")  # 2 ÷ 3 ≈ 0.67 does not give 2/3
_VARIABLE = re.compile(r"(?<![A-Za-z\\])[0-9]*[A-Za-z](?![A-Za-z.'])")


def read_equation(text: str, read: Callable[[str], Reading]) -> Reading:
    """What an equation gives: the right side of `x = 5`, `12 + 7 = 19`, `Total = $18`; the left one of `5 = x`."""
    sides = [side.strip() for side in EQUALS.split(settled(text))]
    if len(sides) < 2 or not sides[-1] or any(map(_TWO_LABELS.fullmatch, sides[1:-1])):
        return Reading(text, {})
    left, right = sides[0], sides[-1]
    if len(sides) == 2 and re.fullmatch(r"[A-Za-z]", right) and not _NAME.fullmatch(left):
        left, right = right, left
    middle, label = sides[1:-1], _LABEL.fullmatch(left)
    name = left if _NAME.fullmatch(left) else label["name"] or "" if label else ""
    free = [
        bool(_VARIABLE.search(_CALLED.sub("1", _TIMES.sub(" ", side)))) for side in (_SAID_FIRST.sub("", left), *middle)
    ]
    bound = [re.search(r"\\(?:int|sum|prod|lim)(?![A-Za-z])|\]_", side) for side in (left, *middle)]
    free = [one and not limit for one, limit in zip(free, bound, strict=True)]  # a sum or a limit is a number
    spoilt = numbers.BEFORE & {word.strip(",:.") for word in left.lower().split()} - {"from", "other", "first", "total"}
    if name:
        spoilt = spoilt - {"equation", "line"} if label and left != name else frozenset()
    if any(free) and not name and len({free[0], *free}) == 1 and all(map(formulas.read_formula, sides)):
        first, *others = map(formulas.read_formula, sides)
        if first and all(other and formulas.same_formula(first, other) for other in others):
            return read(right)
    if len(name) == 1 and re.fullmatch(r"-?[\d./ ]*\d ?[a-z]", right) and right[-1] in "abknxyz":
        return Reading(text, {})  # x = 6y
    found = read(right)
    if "clock" in found.values and ":" in right:
        return found._replace(text=text)
    number = found.values.get("number")
    total = len(sides) == 2 and number is not None and bool(_SUM.fullmatch(left))
    if middle and number is not None and _SUM.fullmatch(left) and not any(free[1:]):
        return Reading(text, {"number": number})  # m + n = 4 + 6 = 10
    if (spoilt or not found.values or any(free) and not (name or label or total or not left)) and (
        number := computed_number(sides)
    ):
        return Reading(text, {"number": number})
    if spoilt or not found.values or (any(free) and not (name or label or total or not left)):
        return Reading(text, {})
    if total and number is not None:
        return Reading(text, {"number": number._replace(approximate=True)})
    values = dict(found.values)
    exact = read(text[: text.rindex("\\approx")].rstrip()) if "\\approx" in text and number is not None else None
    if exact and number is not None and not _UNDONE.search(left) and (value := rounded(exact, number)):
        return exact._replace(text=text, values={**exact.values, **value})
    if "\\approx" in text and number is not None:
        values["number"] = number._replace(approximate=True, computed=bool(number.places))
    return Reading(text, values, name if len(name) == 1 else "", found.unit)


def rounded(exact: Reading, number: numbers.Number) -> dict[str, numbers.Number] | None:
    """What an exact value that a text rounds to a number is, as a number with both; None if it does not round to it."""
    own, formula = exact.values.get("number"), exact.values.get("formula")
    value = number.value / 100 if number.percent and not (own and own.percent) else number.value
    size = Fraction(1, 2 * 10 ** (number.places or 0)) / (100 if value != number.value else 1)
    if own is not None and not own.approximate and abs(own.value - value) <= size:
        return {"number": own._replace(rounded=value)}
    near = formula is not None and not formula.letters and formulas.near(formula, value, size)
    return {"number": number._replace(approximate=True, computed=bool(number.places))} if near else None
