"""Whether two numbers are equal: units, percent signs, scales and rounding."""

import re
from fractions import Fraction

from mtjax.data.answers.numbers import Number
from mtjax.data.answers.units import UNITS, may_be_other_unit, metric, words_of


def same_number(a: Number, b: Number) -> bool | None:
    """Whether two numbers are equal; None where units, percent signs, scales or rounding leave it open.

    If only one is a percentage, both readings of the other count, since gold answers often leave the sign out: `50%`
    equals `0.5` and `50`. A unit that only one side names is taken to be meant on the other, but numbers that differ by
    the factor of two units of one kind, such as `3` and `180 minutes`, are neither equal nor different.
    """
    if a.rounded == b.value or b.rounded == a.value:
        return True
    if a.value == -b.value and (a.direction or b.direction):  # "a loss of 12" may be -12
        if a.value and any(one.direction > 0 < one.value and not two.direction for one, two in ((a, b), (b, a))):
            return False  # a profit of 12 is no -12
        lost, other = (a, b) if a.direction < 0 else (b, a)
        return True if lost.direction < 0 < lost.value and not other.direction else None
    if _degrees(a, b) or _degrees(b, a):
        return a.value == b.value or (None if _converted(a, b) or _converted(b, a) else False)
    if _pounds(a, b) or _pounds(b, a):
        return a.value == b.value
    if a.value and b.value and (_per_time(a, b) or _per_time(b, a)):
        return None
    if a.unit and b.unit and a.unit.measures == b.unit.measures:
        equal = a.value * a.unit.factor == b.value * b.unit.factor
        return equal or (None if _open(a, b, a.value * a.unit.factor / b.unit.factor) else False)
    if a.unit and b.unit and (of_a := metric(a.unit)).measures == (of_b := metric(b.unit)).measures:
        x, y = a.value * of_a.factor, b.value * of_b.factor
        close = abs(x - y) * 7 <= max(abs(x), abs(y))  # rounded, or another ton
        return True if x == y else None if close or a.approximate or b.approximate else False
    if a.compound or b.compound or (a.unit and b.unit) or a.direction * b.direction < 0:
        return None
    things, others = words_of(a.words), words_of(b.words)
    if (a.unit or things) and (b.unit or others) and not things & others:
        return None  # different things are counted
    if a.percent != b.percent:
        percent, other = (a, b) if a.percent else (b, a)
        equal = other.value in (percent.value, percent.value / 100)
    else:
        equal = a.value == b.value
    if equal:
        return True
    if a.percent != b.percent:  # a rounded percentage of the other
        share = percent._replace(value=percent.value / 100, places=percent.places + 2 if percent.places else None)
        if _open(share, other, share.value):
            return None
    if any(_made_of(*pair) for pair in ((a, b), (b, a))):
        return None
    ratio = a.value / b.value if a.value and b.value else Fraction(0)
    hidden = None if a.unit and b.unit else a.unit or b.unit
    if _dollars(a, b) or _dollars(b, a):
        return True
    return None if _open(a, b, a.value) or (ratio and may_be_other_unit(ratio, hidden)) else False


_RATE = re.compile(r"(?:^|\W)(?:per|an?|each|every|/) ?(?:second|minute|hour|day|week|month|quarter|year)s?\b")


def _per_time(a: Number, b: Number) -> bool:
    """Whether one is said per time and the other may be its total, such as 4,000 a month and 48,000."""
    times = b.value / a.value
    if a.value < 1 and re.match(r"an? ", a.words):
        return False  # half an hour
    return bool(_RATE.search(a.words)) and not _RATE.search(b.words) and times > 1 and times.denominator == 1


def _pounds(a: Number, b: Number) -> bool:
    """Whether one is in pounds sterling and the other in "pounds", which may be money or a weight."""
    return a.unit == UNITS["£"] and b.unit == UNITS["pound"] and "lb" not in b.words


def _dollars(a: Number, b: Number) -> bool:
    """Whether one is in cents, and the other the same amount in dollars as it is written: 60 cents and 0.60."""
    return a.unit == UNITS["cent"] and b.unit is None and not b.words and b.places == 2 and b.value * 100 == a.value


def _degrees(a: Number, b: Number) -> bool:
    """Whether one is a temperature and the other in "degrees" of no scale."""
    return a.unit == UNITS["degree"] and b.unit is not None and b.unit.measures in ("celsius", "fahrenheit", "kelvin")


def _converted(a: Number, b: Number) -> bool:
    """Whether one in degrees Celsius is about the other in degrees Fahrenheit."""
    return abs(a.value * Fraction(9, 5) + 32 - b.value) <= 1


def _made_of(a: Number, b: Number) -> bool:
    """Whether a sentence says `a` beside numbers that give `b` with it, such as 12 of 20 for 3/5 or for 8."""
    x, y = a.value, b.value / 100 if b.percent else b.value
    pairs = [(p, q) for n, p in enumerate(a.beside[:8]) for m, q in enumerate(a.beside[:8]) if n != m]
    if y not in a.beside and any(x in (p + q, p - q, p * q, q and p / q) for p, q in pairs):
        return False  # it is what they give, as 60 in "20 mph for 3 hours is 60 miles"
    return any(
        y in (z, x + z, x - z, z - x, x * z) or (z and y in (x / z, 100 * x / z)) or (x and y == z / x)
        for z in a.beside
    )


def _open(a: Number, b: Number, value: Fraction) -> bool:
    """Whether numbers that are not equal may mean the same: approximate, rounded, or in thousands or dozens."""
    if a.approximate or b.approximate:
        return not (a.computed | b.computed and abs(a.value - b.value) * 50 > max(abs(a.value), abs(b.value)))
    if b.value in (a.bare, b.bare) and a.bare is not None or a.value == b.bare:
        return True
    for rough, fine in ((a.value if a.places else None, b), (b.value if b.places else None, a)):
        places = a.places if fine is b else b.places
        if rough is None or places is None or (fine.places is not None and fine.places <= places):
            continue
        exact = fine.value if fine is b else value
        if abs(exact - rough) <= Fraction(1, 2 * 10**places) and (fine is a or rough):
            return True
    # "1.000" may be a thousand where a dot separates thousands.
    return any(x.places == 3 and abs(x.value) >= 1 and y.value == x.value * 1000 for x, y in ((a, b), (b, a)))
