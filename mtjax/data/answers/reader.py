"""One reader of answers: a text is read as every kind of value that it may be, whole, and values of a kind compared.

A comparison is True, False, or None where it cannot be decided: the values are of other kinds, the text is not a value
and nothing else, or the kinds that both may be disagree.
"""

import functools
import re
from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import Any

from mtjax.data.answers import (
    calendar,
    formulas,
    groups,
    intervals,
    letters,
    matrices,
    number_comparison,
    number_words,
    numbers,
    sentences,
    words,
)
from mtjax.data.answers.computed import computed_number
from mtjax.data.answers.equations import EQUALS, Reading, read_equation
from mtjax.data.answers.normal import plain
from mtjax.data.answers.phrases import settled
from mtjax.data.answers.units import UNITS, read_unit

_Kind = tuple[Callable[[str], Any], Callable[[Any, Any], bool | None]]


def _same_text(a: str, b: str) -> bool | None:
    return compare(read(a), read(b))


def _with_elements(same: Callable[[Any, Any, groups.Same], bool | None]) -> Callable[[Any, Any], bool | None]:
    return lambda a, b: same(a, b, _same_text)


KINDS: dict[str, _Kind] = {
    "letter": (letters.read_letter, lambda a, b: a.letter == b.letter),
    "truth": (words.read_truth, words.same_truth),
    "number": (
        lambda text: numbers.read_number(text) or sentences.number_in_sentence(text),
        number_comparison.same_number,
    ),
    "ordinal": (number_words.read_ordinal, lambda a, b: a == b),
    "clock": (calendar.read_clock, calendar.same_clock),
    "date": (calendar.read_date, calendar.same_date),
    "ratio": (groups.read_ratio, _with_elements(groups.same_ratio)),
    "several": (groups.read_several, _with_elements(groups.same_several)),
    "matrix": (matrices.read_matrix, _with_elements(matrices.same_matrix)),
    "tuple": (lambda text: groups.read_tuple(text) or matrices.read_vector(text), _with_elements(groups.same_tuple)),
    "intervals": (intervals.read_intervals, _with_elements(intervals.same_intervals)),
    "formula": (formulas.read_formula, formulas.same_formula),
    "relation": (formulas.read_relation, formulas.same_relation),
    "word": (words.read_word, words.same_word),
    "signs": (words.read_signs, lambda a, b: a == b),
    "sequence": (words.read_sequence, words.same_sequence),
}
"""Every kind of value: how a text is read as one, and how two are compared."""

_SAID = ("tuple", "intervals", "ratio", "several", "formula", "clock", "matrix")
_PREDICATE = re.compile(
    r"(?P<lead>(?:(?:[A-Za-z][A-Za-z'-]*|(?P<given>[0-9]+)),? ){1,8}?(?:is|are|was|were|be|at|gives|yields|equals"
    r"|becomes|get|obtain|have|find|as|(?:equal|evaluates|simplifies|reduces|amounts|comes|expands|factors) to"
    r"|(?:expands|factors|simplifies|evaluates) (?:as|into))"
    r"|(?:[A-Za-z][A-Za-z'-]* ){0,4}[A-Za-z'-]{2,}:)(?: at)?(?: the point)? (?P<value>(?:[^A-Za-z ]"
    r"|[a-z](?:_\{?\w\}?)? ?(?:=|\\in\b)|[A-Za-z](?:[\^(]| ?[-+*/])|\\?(?:sin|cos|tan|ln|log|sqrt)\b).*)"
)
"""A sentence that says what something is, such as `The point is (3, 4)`."""
_IS_SUM = re.compile(
    r"^([$0-9][-+*/()$0-9., ]*?[-+*/] ?[$0-9.,]+\)?) (?:is|equals|makes|gives)(?: equal to)? (?=[-$]?[0-9])"
)
_HAS_EQUATION = re.compile(r"^(?:The|Its|This) (?:[a-z]+ ){1,3}has (?:the )?equation (?=\S)")
_NUMERAL = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")


@functools.lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
    """Everything that an answer may be.

    >>> sorted(read("(1, 5)").values), read("x = 18 dollars").values["number"].value
    (['intervals', 'tuple'], Fraction(18, 1))
    """
    if len(answer) <= numbers.LONGEST and _NUMERAL.fullmatch(answer):
        return Reading(answer, {"number": numbers.read_number(answer)})
    text = plain(answer)
    if len(text) > numbers.LONGEST:
        return Reading(text, {})
    text = _HAS_EQUATION.sub("", _IS_SUM.sub(r"\1 = ", text))
    measured = _MEASURED.fullmatch(text) if "\\" in text else None
    if measured and (read_unit(measured["unit"]) or measured["unit"].endswith("units")):
        inner = read(measured["formula"])
        if "formula" in inner.values:
            return inner._replace(text=text, unit=measured["unit"])
    values = {kind: value for kind, (reader, _) in KINDS.items() if text and (value := reader(text)) is not None}
    if (
        values
        and "=" in text
        and values.keys() <= {"several", "sequence", "tuple"}
        and re.search(r"[A-Za-z]{3} ", text)
    ):
        number = computed_number([side.strip() for side in EQUALS.split(text)])
        values = {"number": number} if number else values  # a sentence with commas
    if "truth" in values:
        values.pop("word", None)
    if "several" in values and "number" not in values and len(values["several"].elements) == 1:
        only = read(values["several"].elements[0]).values.get("number")
        values |= {"number": only._replace(approximate=True)} if only else {}
    if "date" in values:
        values.pop("several", None)
    elif "several" in values and (same := _said_twice(values["several"])):
        values = {"number": same}
    for kind in ("several", "tuple", "intervals"):
        parts = (
            () if kind not in values else intervals.ends(values[kind]) if kind == "intervals" else values[kind].elements
        )
        elements = [read(part) for part in parts]
        worded = [one.values.keys() <= {"sequence"} for one in elements]
        if not all(map(_element, elements)) or any(worded) and not all(worded):
            del values[kind]  # a sentence with commas
    number, formula = values.get("number"), values.get("formula")
    if "letter" in values and re.fullmatch(r"[A-Z]|\(?[A-Za-z]\)", text):
        values.pop("formula", None)
    if formula is not None and number is not None:
        del values["formula"]  # a plain number, or a fraction with a unit in letters
    elif formula is not None and formula.exact is not None:
        values["number"] = numbers.Number(values.pop("formula").exact)
    if (
        not values.keys() - {"sequence"}
        and (said := _PREDICATE.fullmatch(settled(text)))
        and not (numbers.BEFORE - {"equation", "line", *(["below", "under", "first"] if said["given"] else [])})
        & set(re.findall(r"[a-z']+", said["lead"].lower()))
    ):
        inner = read(said["value"])
        found = {kind: value for kind, value in inner.values.items() if kind in _SAID}
        if not found and "number" in inner.values and re.search(r"\^|\\times", said["value"]):
            found = {"number": inner.values["number"]}
        if said["given"]:
            found = {kind: value for kind, value in found.items() if kind == "several"}
        if re.search(r"\b(?:of|between)\b", said["lead"]):
            found |= {"ratio": found["ratio"]._replace(said=True)} if "ratio" in found else {}
        if found:
            return Reading(text, found, unit=inner.unit)
    relation = {"relation": values.pop("relation")} if "relation" in values else {}
    if values or "=" not in text and "\\approx" not in text:
        letter = values.get("letter")
        if letter and letter.rest:
            values = {**read(letter.rest).values, **values}
        return Reading(text, values)
    result = read_equation(text, read)
    return result._replace(values={**result.values, **relation})


_MEASURED = re.compile(
    r"(?P<formula>[^A-Za-z]*\\(?:sqrt|pi|frac)(?:.*(?:[\d}]|\\pi))?) ?"
    r"(?P<unit>(?:(?:square|cubic) )?[A-Za-z]{2,}(?:\^\{?[23]\}?)?)"
    r"(?: (?:long|wide|tall|high|deep))?"
)
"""A formula with a unit of two or more letters behind it, such as `5\\sqrt{3} cm`; one letter may be a variable."""


def _said_twice(several: groups.Several) -> numbers.Number | None:
    """The number that both of two elements are, as in `1/8, or 12.5%`; None if they differ."""
    if not several.ordered or len(several.elements) != 2:
        return None
    first, second = (read(element).values.get("number") for element in several.elements)
    if first is None or second is None:
        return None
    if first.unit and second.unit and not first.percent | second.percent:
        return first if number_comparison.same_number(first, second) else None
    values = (one.value / 100 if one.percent else one.value for one in (first, second))
    return first if len(set(values)) == 1 else None


def _element(reading: Reading) -> bool:
    """Whether a part of a list may be an element: a value, and no sentence with other numbers beside it."""
    number = reading.values.get("number")
    return bool(reading.values) and not (number and number.beside)


def compare(gold: Reading, answer: Reading) -> bool | None:
    """Whether two answers are equal; None unless both were read whole as values of one kind."""
    if gold.text == answer.text or words.bare_words(gold.text) == words.bare_words(answer.text):
        return True
    if any(a and b and a != b for a, b in ((gold.name, answer.name), (gold.unit, answer.unit))):
        return None
    shared = [kind for kind in KINDS if kind in gold.values and kind in answer.values]
    shared = [kind for kind in shared if kind != "relation" or len(shared) == 1]
    shared = next(([kind] for kind in ("date", "clock") if kind in shared), shared)
    found = [KINDS[kind][1](gold.values[kind], answer.values[kind]) for kind in shared]
    if not shared:
        mixed = _number_and_formula(gold, answer)
        mixed = _ratio_and_number(gold, answer) if mixed is None else mixed
        mixed = _list_and_tuple(gold, answer) if mixed is None else mixed
        found = [] if mixed is None else [mixed]
    if gold.values.keys() >= {"letter", "number"} and answer.values.keys() >= {"letter", "number"} and None in found:
        return None
    if not found or (True in found and False in found):
        return None
    return True if True in found else None if None in found else False


def _list_and_tuple(gold: Reading, answer: Reading) -> bool | None:
    """True if a gold list has the values of letters in their order: `18 and 6` for `x = 18, y = 6`; None else."""
    listed, named = gold.values.get("several"), answer.values.get("tuple")
    if "=" not in answer.text:
        return None  # a point
    return (listed and named and groups.same_elements(listed.elements, named.elements, _same_text)) or None


def _ratio_and_number(gold: Reading, answer: Reading) -> bool | None:
    """True if a fraction is the quotient of the gold ratio; None else."""
    ratio, number = gold.values.get("ratio"), answer.values.get("number")
    if number is None or ratio is None or len(ratio.parts) != 2 or number.places is not None:
        return None
    return number.value == Fraction(ratio.parts[0]) / Fraction(ratio.parts[1]) or None


def _number_and_formula(gold: Reading, answer: Reading) -> bool | None:
    for one, other in ((gold, answer), (answer, gold)):
        number, formula = one.values.get("number"), other.values.get("formula")
        if number is not None and number.unit == UNITS["degree"] and other.unit.startswith("radian"):
            return None
        if number is not None and formula is not None:
            value: Fraction = number.value
            equal = formulas.same_formula(formulas.constant(value), formula)
            if equal is False and (number.places or number.approximate):
                size = Fraction(1, 2 * 10 ** (number.places or 0))
                near = formulas.near(formula, value, size)
                return None if near or number.approximate else False
            return equal
    return None


def key(reading: Reading) -> Hashable:
    """What equal answers share, as one vote: the number, the letter, or else the words without case.

    >>> key(read("18 dollars")) == key(read("18.0"))
    True
    """
    values = reading.values
    if (number := values.get("number")) is not None:
        return "number", number.value, number.percent
    if (letter := values.get("letter")) is not None:
        return "letter", letter.letter
    if (truth := values.get("truth")) is not None:
        return "truth", truth.positive
    if (several := values.get("several")) is not None:
        keys = [key(read(element)) for element in several.elements]
        return ("list", *keys) if several.ordered else ("set", frozenset(keys))
    if (pair := values.get("tuple")) is not None:
        return "tuple", *(key(read(element)) for element in pair.elements)
    if (formula := values.get("formula")) is not None:
        return "formula", formulas.formula_key(formula)
    return words.bare_words(reading.text)
