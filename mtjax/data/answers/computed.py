"""Sentences that compute their number: `So they paid 12 + 9 = $21 in total`."""

import re
from fractions import Fraction

from mtjax.data.answers.formula_parser import parse
from mtjax.data.answers.normal import listed
from mtjax.data.answers.numbers import BEFORE, POSITIONAL, SOFT, Number, read_number
from mtjax.data.answers.phrases import settled

_UNIT = r"(?:(?: |-|/(?=[A-Za-z]{2}))?[A-Za-z]+(?:[ /-][A-Za-z]+){0,3})?"
_TERM = rf"\(*[-+]?[$€£]? ?\(*[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?%?{_UNIT}\)*"
_OP = r"\s*(?:[-+*/]|\\times|(?<=[\d)% ])[xX](?=[ $(\d]))\s*"
_SUM = re.compile(rf"(?:(?<=^)|(?<=[\s:,(]))(?P<sum>{_TERM}(?:{_OP}{_TERM})+)\s*$")
_WORDS = re.compile(
    r"(?<=[\d)%])(?: |-|/(?=[A-Za-z]{2}))?(?![xX] ?[\d$(])[A-Za-z]+(?:[ /-](?![xX] ?[\d$(])[A-Za-z]+){0,3}"
)
_RESULT = re.compile(
    r"(?P<number>-?[$€£]? ?-?[0-9][0-9,]*(?:\.[0-9]+)?%?)(?P<tail>(?:,? "
    r"[$€£]?[A-Za-z0-9][\w'.-]*)+)"
)
_OTHER_TAIL = frozenset(
    listed("""or but never remainder r squared cubed divided minus plus times unless instead wrong incorrect not n't too
    would cannot""")
)
_HAS_NOT = re.compile(
    r"\b(?:that|who|which) (?:do|does|did|are|were|is|was|have|has|can|could|will) ?(?:not|n't)\b(?! (?:right"
    r"|correct))"
)
_NAME = re.compile(r"(?:^|(?<=\s))[A-Za-z] ?$")


def _value(sum_: str) -> Fraction | None:
    """The exact value of arithmetic with units behind its numbers."""
    text = _WORDS.sub("", sum_.replace("$", "").replace("€", "").replace("£", ""))
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=[\d)\s])[xX](?=[\s(\d])", r"\\times ", text)
    formula = parse(re.sub(r"([0-9.]+)%", r"(\1/100)", text))
    return formula.exact if formula else None


def computed_number(sides: list[str]) -> Number | None:
    """The result of a sentence split at its equals signs, of which all but the last end in arithmetic; else None.

    What stands in front may hold other numbers, but then the result is only compared as equal (`approximate`), as it is
    if it is said of a supposition (`When 3 more come, there are 13 + 3 = 16`).

    >>> computed_number(["So they paid 12 + 9", "$21 in total"]).value
    Fraction(21, 1)
    """
    if len(sides) < 2:
        return None
    first, *middle, last = (settled(side) for side in sides)
    found = _SUM.search(first)
    if found is None:
        if not middle or not _NAME.search(first):
            return None
        lead, sums = first[:-1], middle
    else:
        lead, sums = first[: found.start("sum")], [found["sum"], *middle]
    if not all(map(_SUM.match, sums)):
        return None
    values = [_value(one) for one in sums]
    number, right_only = read_number(last), False
    if number is None and (result := _RESULT.fullmatch(last)):
        behind = _HAS_NOT.sub("", result["tail"].lower())
        tail = set(re.findall(r"[a-z]+|n't", behind))
        number = None if tail & _OTHER_TAIL else read_number(result["number"])
        right_only = True
    if number is None or None in values or len(set(values)) > 1:
        return None
    value = number.value / 100 if number.percent and values[0] != number.value else number.value
    slack = Fraction(1, 2 * 10 ** (number.places or 0)) if "/" in sums[0] else 0
    proved = abs((values[0] or Fraction(0)) - value) <= slack or values[0] == number.value
    words = re.findall(r"[a-z]+(?:'[a-z]+)?", lead.lower())
    stems, near = set(words), set(words[-1:])
    conditions = stems & {"if", "suppose", "assume", "assuming"}
    if (
        (stems & (BEFORE - SOFT - POSITIONAL - _SAID) - conditions)
        or near & POSITIONAL
        and lead.rstrip().endswith(words[-1:][0] if words else "?")
    ):
        return None
    careful = right_only or bool(conditions or stems & (SOFT | POSITIONAL) or re.search(r"\d", lead))
    if careful and not proved:
        return None
    right_only = right_only or bool(conditions and not lead.rstrip().endswith(","))
    return number._replace(approximate=number.approximate or right_only)


_SAID = frozenset(
    listed("""times equation figure half double twice triple maximum minimum least most part problem question line step
    steps""")
)  # words that change a number behind them, but not what a computation gives
