"""Units: what is counted, what measures the same thing, and by which factor."""

import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers.normal import listed

_TABLE = {
    "time": "s sec second=1 min minute=60 h hr hour=3600 day=86400 week wk=604800",
    "months": "month=1 year yr=12 decade=120 century=1200",
    "length": "mm millimeter millimetre=1 cm centimeter centimetre=10 dm=100 m meter metre=1000 "
    "km kilometer kilometre=1000000",
    "imperial length": "inch in=1 foot feet ft=12 yard yd=36 mile mi=63360",
    "mass": "mg milligram=1 g gram=1000 kg kilogram kilo=1000000 tonne=1000000000",
    "imperial mass": "ounce oz=1 pound lb lbs=16 ton=32000",
    "volume": "ml milliliter millilitre=1 cl=10 l liter litre=1000",
    "imperial volume": "teaspoon tsp=1 tablespoon tbsp=3 cup=48 pint pt=96 quart qt=192 gallon gal=768",
    "dollar": "cent ¢=1 dollar $ usd us$ buck=100",
    "euro": "eurocent=1 € euro eur=100", "sterling": "pence=1 £ gbp quid=100", "yen": "¥ yen jpy=1",
    "rupee": "₹ rupee rs inr=1",
    "angle": "degree ° deg=1", "radians": "radian rad=1",
    "celsius": "celsius=1", "fahrenheit": "fahrenheit=1", "kelvin": "kelvin=1",
    "percent": "% percent=1", "force": "newton=1", "energy": "joule=1 kilojoule kj=1000",
    "power": "watt=1 kilowatt "
             "kw=1000", "voltage": "volt=1", "amount": "mole mol=1000 mmol "
                                                       "millimole=1", "frequency": "hertz "
                                                           "hz=1", "pressure": "pascal pa=1",
    "data": "byte=1 kb=1024 mb=1048576 gb=1073741824",
}  # fmt: skip


class Unit(NamedTuple):
    """A known unit: what it measures, such as "length" or "length^2", and how many of the smallest unit it is."""

    measures: str
    factor: Fraction


def _read_table() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for measures, line in _TABLE.items():
        names: list[str] = []
        for word in line.split():
            name, _, factor = word.partition("=")
            names.append(name)
            if factor:
                found |= {name: Unit(measures, Fraction(factor)) for name in names}
                names = []
    return found


UNITS = _read_table()  # Every known unit by its name in lower case and singular.
_SPEED = dict.fromkeys(("kmph", "kph", "kmh"), "km/h") | {"mph": "mi/h", "mps": "m/s"}
_SPEEDS = re.compile(rf"^(?:{'|'.join(_SPEED)})\b", re.IGNORECASE)
_INVERSE = re.compile(r"([A-Za-z]+)(?: |\\times )?([A-Za-z]+)\^\{?-([123])\}?")
"""Units as in `m s^{-1}`."""


_SIGNS = {"N": "newton", "J": "joule", "W": "watt", "V": "volt"}  # units of one capital letter
_PER_SQUARED = re.compile(
    r"\bper (?:(?P<s>sec(?:ond)?s?|hours?)(?: squared|\^\{?2\}?)|square (?P<t>second|hour))$", re.IGNORECASE
)
_FRACTION = re.compile(r"\\frac\{ ?([A-Za-z]+) ?\}\{ ?([A-Za-z]+(?:\^\{?[23]\}?)?) ?\}")


def inverse_units(words: str) -> str:
    """Units such as `m s^{-1}` and `meters per second squared` as `m/s` and `meters per s^2`, if no other words are."""
    words = _PER_SQUARED.sub(lambda found: f"per {found['s'] or found['t']}^2", _FRACTION.sub(r"\1/\2", words))
    words = _SIGNS.get(words, words)
    found = _INVERSE.fullmatch(words)
    return words if found is None else f"{found[1]}/{found[2]}" + (f"^{found[3]}" if found[3] != "1" else "")


_SCALES = {"c": "celsius", "f": "fahrenheit", "k": "kelvin"}
_TEMPERATURE = re.compile(
    r"^(?:degrees?|deg|°) ?(c(?:elsius|entigrade)?|f(?:ahrenheit)?|k(?:elvins?)?)\b", re.IGNORECASE
)
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_RATES = ("time", "months")
IDLE = frozenset(
    listed("""a an the of in per each every all total altogether for at on his her their its is are was were""")
)


def singular(word: str) -> str:
    """The name that the table of units and comparisons of words use: lower case, no full stop, no plural."""
    word = word.lower().strip(".,")
    if word in UNITS or len(word) < 3:
        return word
    if word in ("feet", "inches"):
        return {"feet": "foot", "inches": "inch"}[word]
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def read_unit(words: str) -> Unit | None:
    """The known unit that the words begin with: `km`, `square metres`, `cm^2`, `kilometres per hour`; else None.

    >>> read_unit("kilometres per hour").measures, read_unit("eggs a day")
    ('length/time', None)
    """
    words = _TEMPERATURE.sub(lambda found: _SCALES[found[1][0].lower()], words)
    words = _SPEEDS.sub(lambda found: _SPEED[found[0].lower()], words)
    tokens = re.sub(r"(?<=[A-Za-z])/(?=[A-Za-z])", " / ", words.replace("{", "").replace("}", "")).split()
    if not tokens:
        return None
    power = _POWERS.get(tokens[0].lower().strip("."), 1)
    tokens = tokens[1:] if power > 1 else tokens
    name, _, raised = tokens[0].partition("^") if tokens else ("", "", "")
    unit = UNITS.get(singular(name))
    if unit is None:
        return None
    if raised or power > 1:
        power = int(raised) if raised in ("2", "3") else power
        unit = Unit(f"{unit.measures}^{power}", unit.factor**power)
    lower, _, squared = tokens[2].partition("^") if len(tokens) > 2 and tokens[1] in ("/", "per") else ("", "", "")
    below = UNITS.get(singular(lower)) if lower else None
    if below is not None and below.measures in _RATES and unit.measures != "dollar":
        power = int(squared) if squared in ("2", "3") else 1
        named = f"{unit.measures}/{below.measures}" + (f"^{power}" if power > 1 else "")
        return Unit(named, unit.factor / below.factor**power)
    return unit


_IMPERIAL = {"imperial length": ("length", Fraction("25.4")), "imperial mass": ("mass", Fraction("28349.523125"))}


def metric(unit: Unit) -> Unit:
    """A unit of the imperial system in the smallest metric unit of its kind; other units as they are.

    >>> metric(read_unit("miles per hour")).measures, float(metric(read_unit("inches")).factor)
    ('length/time', 25.4)
    """
    for name, (measures, size) in _IMPERIAL.items():
        if unit.measures.startswith(name):
            power = int(unit.measures[-1]) if unit.measures[-2:-1] == "^" else 1
            return Unit(unit.measures.replace(name, measures), unit.factor * size**power)
    return unit


def words_of(words: str) -> frozenset[str]:
    """The words that say what is counted, in singular and lower case, without "of", "a", "per" and the like."""
    return frozenset(map(singular, re.findall(r"[^\W\d_]+", words))) - IDLE


def may_be_other_unit(ratio: Fraction, unit: Unit | None, words: str = "") -> bool:
    """Whether two numbers with this ratio may be one quantity in two units, of which one does not say its unit."""
    if unit is None:
        return False
    of_kind = {one.factor for one in UNITS.values() if one.measures == unit.measures.split("^")[0].split("/")[0]}
    power = int(unit.measures[-1]) if unit.measures[-2:-1] == "^" else 1
    ratios = {(a / b) ** power for a in of_kind for b in of_kind if a != b}
    if "/" in unit.measures:
        times = [one.factor for one in UNITS.values() if one.measures in _RATES]
        ratios = {r * a / b for r in ratios | {Fraction(1)} for a in times for b in times} - {Fraction(1)}
    return abs(ratio) in ratios
