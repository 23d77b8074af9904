"""Where a value ends and what is said about it begins."""

import re
from fractions import Fraction

from mtjax.data.answers.boxes import DENIED_BEHIND
from mtjax.data.answers.clauses import numerals
from mtjax.data.answers.equations import Reading, rounded
from mtjax.data.answers.numbers import LONGEST
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import beginnings

_SAID_AGAIN = re.compile(
    r",? (?:which|that) (?:is|equals|simplifies to|reduces to|"
    r"makes|gives|means|leaves|comes (?:out )?to)(?: equal to)? ([^.\n]*\d[^.\n]*)"
)


_MEANT = re.compile(r",? (?:meaning|giving|making|leaving|so)(?: that)? ([^.\n]*\d[^.\n]*)")


_SUBORDINATE = re.compile(r"\W*(?:since|because|if|when|as|although|while|given)\b", re.IGNORECASE)
_BY_EQUATION = re.compile(r",? ?(?:because|since)\b[^=]*=", re.IGNORECASE)
_BREAKDOWN = re.compile(r":\s+\S.*")


def _adds_up(reading: Reading, pieces: str) -> bool:
    """Whether the numbers of a text are the parts of a value: `2 blue and 1 white` of 3, or as many as it."""
    number = reading.values.get("number")
    if number and len(re.findall(r"(?<![A-Za-z])[A-Za-z](?:_\{?\w\}?)? ?=", pieces)) == number.value:
        return True  # two solutions: x = 1 and x = 3
    if (
        number
        and re.fullmatch(
            r":?\s*(?:-?\d+,? ?(?:and )?)+\.?",
            pieces,
        )
        and len(re.findall(r"\d+", pieces)) == number.value
    ):
        return True  # nine such numbers: 1, 2, ...
    found = re.findall(r"(?<![\w.,/])[0-9]+(?:\.[0-9]+)?(?![\w/%]|[.,][0-9])", pieces)
    if number is None or len(found) < 2 or any(len(one) > LONGEST for one in found):
        return False
    return sum(map(Fraction, found)) == number.value


_REJECTED = re.compile(r"\b(?:reject\w*|extraneous|invalid|discard\w*|not valid|ignored?)\b", re.IGNORECASE)
_GOES_ON = re.compile(r",? (?:and )?(?:then|next) ", re.IGNORECASE)  # gives 100, then subtract 20
_RELATED = re.compile(r"\S+ (?:[a-z]+ )?(?:more|less|fewer|times|%|percent|[a-z]{3,}er)\b")  # 5 more than the girls
_OR = re.compile(r",? (?:or|that is,?|i\.e\.,?) ((?:about |approximately |roughly )?[-$£€]?\d.*)")


def _same_or_rounded(reading: Reading, text: str) -> bool:
    """Whether a text says the value of a reading again, or what it rounds to: `1/3, or about 33.3%`."""
    again = read(text)
    number = again.values.get("number")
    return compare(reading, again) is True or number is not None and rounded(reading, number) is not None


def cut(text: str) -> tuple[str, Reading, str]:
    """The longest beginning of a text that is a value, its reading, and the rest; the whole text if none is one."""
    first: tuple[str, Reading, str] | None = None
    for part, bracket in beginnings(text):
        reading = read(part)
        first = first or (part, reading, "")
        if part != text and _SUBORDINATE.match(part):
            continue
        if reading.values.keys() - {"sequence"}:
            if (broken := _BREAKDOWN.match(text[len(part) :])) and not _adds_up(reading, broken[0]):
                break
            behind = text[len(part) :].lstrip()
            if DENIED_BEHIND.match(re.sub(r"^[(\[][^()\[\]]*[)\]]", "", behind)) and not behind.startswith("or"):
                break  # 20 (D) is wrong
            if re.match(r"; ?[-+*/×]", behind):
                break  # 8:45 PM; + 20 min = 9:05 PM
            if (
                behind[:1] == ";"
                and not re.search(r"\b(?:wrong|incorrect|too|would)\b", behind)
                and "number" in reading.values.keys() & read(behind[1:].strip()).values.keys()
            ):
                break  # 18; 19
            if (
                _BY_EQUATION.match(behind)
                and (own := reading.values.get("number"))
                and own.value not in numerals(behind)
            ):
                break  # 1600 because 800 + 2400 = 3200
            inside = read(bracket).values.get("number") if bracket else None
            if bracket and _REJECTED.search(bracket):
                inside = None
            if inside and compare(reading, read(bracket)) is False and "number" in reading.values:
                break
            if bracket and re.search(r"\b(?:rounded|nearest)\b", bracket) and "number" in reading.values:
                number = reading.values["number"]._replace(approximate=True)
                reading = reading._replace(values={**reading.values, "number": number})
            meant = _MEANT.match(text[len(part) :])
            if meant and compare(reading, read(meant[1])) is not True and "number" in reading.values:
                break
            if _GOES_ON.match(text[len(part) :]):
                break
            if other := _OR.match(text[len(part) :]):
                if not _same_or_rounded(reading, other[1]):
                    break
                own, again = reading.values.get("number"), read(other[1]).values.get("number")
                if own and again and own.value != again.value and not again.percent:
                    own = own._replace(rounded=again.value)  # 0.35 kg, that is, 350 grams
                    reading = reading._replace(values={**reading.values, "number": own})
            said_again = _SAID_AGAIN.match(text[len(part) :])
            if said_again and _RELATED.match(said_again[1]):
                said_again = None
            if said_again and compare(reading, read(said_again[1])) is False:
                break
            return part, reading, text[len(part) :]
    assert first is not None
    return first
