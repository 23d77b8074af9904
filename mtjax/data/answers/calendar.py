"""Times of day and dates."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mtjax.data.answers.normal import listed

_CLOCK = re.compile(
    r"(?P<h>[0-9]{1,2})(?:[:.](?P<m>[0-9]{2}))?(?::(?P<s>[0-9]{2}))? ?(?P<half>[ap]\.? ?m\b\.?|o'? ?clock)?"
    r"(?: (?:in the )?(?P<part>morning|afternoon|evening))?",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?:[A-Za-z][a-z']* ){0,8}?(?:[Aa]t|is|was|be|[Ii]t's) (?=[0-9]|noon|midnight|half past|(?:a )?quarter|"
    r"(?:[a-z]+ )o'? ?clock|(?:five|ten|twenty|twenty-five)(?: minutes)? (?:past|to) )"
)
_HOURS = dict(zip(listed("one two three four five six seven eight nine ten eleven twelve"), range(1, 13), strict=True))
_SPOKEN = re.compile(
    rf"(?P<minutes>half|(?:a )?quarter|[0-9]{{1,2}}|{'|'.join(_HOURS)}|twenty(?:-five)?)(?: minutes)? "
    rf"(?P<side>past|after|to) "
    rf"(?P<hour>[0-9]{{1,2}}|{'|'.join(_HOURS)}|noon|midday|midnight)"
    rf"(?P<rest>(?: ?[ap]\.?m\b\.?| in the (?:morning|afternoon|evening))?)",
    re.IGNORECASE,
)  # fmt: skip
_OCLOCK = re.compile(rf"^({'|'.join(_HOURS)}) o'? ?clock\b", re.IGNORECASE)
_MINUTES = _HOURS | {"half": 30, "a quarter": 15, "quarter": 15, "twenty": 20, "twenty-five": 25}


def _in_digits(text: str) -> str:
    """`half past three` as `3:30`, with what stands behind it; other texts as they are."""
    text = _OCLOCK.sub(lambda hour: f"{_HOURS[hour[1].lower()]} o'clock", text)
    found = _SPOKEN.fullmatch(text)
    if found is None or (found["side"].lower() == "to" and found["rest"] == "" and found["minutes"].isdigit()):
        return text  # "3 to 2" is a ratio
    minutes, hour = found["minutes"].lower(), found["hour"].lower()
    count = _MINUTES.get(minutes) or int(minutes)
    total = (12 if hour in _NAMED else _HOURS.get(hour) or int(hour)) * 60 + (
        -count if found["side"].lower() == "to" else count
    )
    if hour in _NAMED and count < 60:
        morning = (total < 720) != (hour == "midnight")
        return f"{(total // 60 - 1) % 12 + 1}:{total % 60:02d} {'am' if morning else 'pm'}"
    return f"{(total // 60 - 1) % 12 + 1}:{total % 60:02d}{found['rest']}" if count < 60 else text


_NAMED = {"noon": 720, "midday": 720, "midnight": 0}


class Clock(NamedTuple):
    """A time of day."""

    seconds: int  # since midnight; since midnight or noon where the half of the day is open
    open: bool  # whether it may be before or after noon


def read_clock(text: str) -> Clock | None:
    """The time that a text is: `3:30 PM`, `15:30`, `7 o'clock`, `noon`; None for a bare number."""
    said = _SENTENCE.match(text)
    if said and _OTHER_DAY.search(said[0]):
        return None
    text = re.sub(r"^([01]?[0-9]|2[0-3]) ?h ?([0-5][0-9])$", r"\1:\2", _in_digits(_SENTENCE.sub("", text)))
    lowered = text.lower()
    if lowered in _NAMED or lowered in ("12 noon", "12 midnight"):
        return Clock(_NAMED[lowered.split()[-1]] * 60, False)
    found = _CLOCK.fullmatch(text)
    if found is None or not (found["half"] or found["part"] or (found["m"] and ":" in text)):
        return None
    hour, minute, second = (int(found[name] or 0) for name in "hms")
    if hour > 24 or minute > 59 or second > 59:
        return None
    half = (found["half"] or "").lower().replace(".", "").replace(" ", "")
    half = half if half in ("am", "pm") else {"morning": "am", "afternoon": "pm", "evening": "pm"}.get(
        (found["part"] or "").lower(), ""
    )  # fmt: skip
    if half:
        if not 1 <= hour <= 12:
            half = ""
        else:
            hour = hour % 12 + 12 * (half == "pm")
    written_24 = len(found["h"]) == 2 and found["h"][0] == "0"
    return Clock(
        hour * 3600 + minute * 60 + second, not half and 1 <= hour <= 12 and not written_24 or hour == 12 and not half
    )


def same_clock(a: Clock, b: Clock) -> bool | None:
    """Whether two times are equal; a time without AM or PM equals both."""
    half = 12 * 3600
    if a.open or b.open:
        return a.seconds % half == b.seconds % half
    return a.seconds == b.seconds


MONTHS = listed("""january february march april may june july august september october november december""")
DAYS = listed("monday tuesday wednesday thursday friday saturday sunday")
_NAME = rf"(?P<month>{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in MONTHS)}|sept)\.?"
_DAY = r"(?:the )?(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_WEEKDAY = rf"(?:(?:{'|'.join(DAYS)}),? )?(?:on )?(?:the )?"
_WRITTEN = [
    re.compile(rf"{_WEEKDAY}{_NAME} {_DAY}(?:,? (?P<year>[0-9]{{4}}))?", re.IGNORECASE),
    re.compile(rf"{_WEEKDAY}{_DAY} (?:of )?{_NAME}(?:,? (?P<year>[0-9]{{4}}))?", re.IGNORECASE),
    re.compile(r"(?P<year>[0-9]{4})[-/.](?P<number>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})"),
]
_DATED = re.compile(rf"(?:[A-Za-z0-9']+ ){{1,8}}?(?:is|was|be|on) (?:on )?(?=[0-9]|{_WEEKDAY}{_NAME} )", re.IGNORECASE)
_OTHER_DAY = re.compile(
    r"\b(?:today|yesterday|tomorrow|if|suppose|assume|whether|unless|not|never|before|after|until|since|than|or"
    r"|cannot|might|maybe|perhaps|doubt|could|either|neither|say)\b|n't\b",
    re.I,
)
_COUNTED_DATE = re.compile(
    r"(?:the date )?(?:\d+|[a-z]+) (?:days?|weeks?|months?|years?) (?:ago )?(?:from|before|after) [^,]*\d[^,]*? "
    r"(?:is|was|will be|would be) (?P<date>.*\d.*)", re.IGNORECASE,
)  # fmt: skip
"""`One week ago from 01/01/2022 is 12/25/2021`."""
_DAY_BEFORE = re.compile(r"\b(?:today|yesterday|tomorrow)\b", re.IGNORECASE)
_MONTH_ONLY = re.compile(
    rf"(?:(?:it|that|this) (?:is|was|happened) )?(?:in )?{_NAME},? (?:of )?(?P<year>[0-9]{{4}})", re.IGNORECASE
)
_NUMERIC = re.compile(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})")


class Date(NamedTuple):
    """A date; of one such as 03/05/2020 both readings are kept."""

    readings: frozenset[tuple[int | None, int, int | None]]  # (year, month, day)
    written: tuple[int, int, int] | None = None  # the numbers of one such as 03/05/2020 in the order of the text
    said_of: bool = False  # as that of a day which need not be the one asked for: "Tomorrow is ..."


def read_date(text: str) -> Date | None:
    """The date that a text is: `March 5, 2020`, `5 March`, `2020-03-05`, `03/05/2020`; else None."""
    said = _DATED.match(text)
    if (later := _COUNTED_DATE.fullmatch(text)) and (named := read_date(later["date"])):
        return named
    if said and _DAY_BEFORE.search(said[0]) and not _OTHER_DAY.search(_DAY_BEFORE.sub("", said[0])):
        named = read_date(text[said.end() :])
        return named and named._replace(said_of=True)
    text = text[said.end() :] if said and not _OTHER_DAY.search(said[0]) else text
    if found := _NUMERIC.fullmatch(text):
        first, second, year = map(int, found.groups())
        pairs = {(first, second), (second, first)}
        return _date([(year, month, day) for month, day in pairs], (first, second, year))
    if found := _MONTH_ONLY.fullmatch(text):
        return Date(frozenset([(int(found["year"]), _month(found["month"]), None)]))
    for pattern in _WRITTEN:
        if found := pattern.fullmatch(text):
            groups = found.groupdict()
            month = int(groups["number"]) if "number" in groups else _month(groups["month"] or "")
            return _date([(int(groups["year"]) if groups.get("year") else None, month, int(groups["day"]))])
    return None


def _month(name: str) -> int:
    return [month[:3] for month in MONTHS].index(name[:3].lower()) + 1


def _date(readings: Sequence[tuple[int | None, int, int]], written: tuple[int, int, int] | None = None) -> Date | None:
    kept = frozenset(one for one in readings if 1 <= one[1] <= 12 and 1 <= one[2] <= 31)
    return Date(kept, written) if kept else None


def same_date(a: Date, b: Date) -> bool | None:
    """Whether two dates are equal; None where a reading of one is and another is not, or a year is missing."""
    if a.said_of or b.said_of:
        return same_date(a._replace(said_of=False), b._replace(said_of=False)) or None
    if a.written is not None and a.written == b.written:
        return True
    if len(a.readings) > 1 or len(b.readings) > 1:
        return None if a.readings & b.readings or {(y, d, m) for y, m, d in a.readings} & b.readings else _years(a, b)
    (x,), (y,) = a.readings, b.readings
    if x[1] != y[1] or x[2] != y[2] and None not in (x[2], y[2]):
        return False
    if x[2] != y[2]:
        return False if x[0] != y[0] and None not in (x[0], y[0]) else None
    return True if x[0] == y[0] else None if None in (x[0], y[0]) else False


def _years(a: Date, b: Date) -> bool | None:
    """False for dates of which no reading agrees, if each names its year."""
    return False if all(one[0] for one in (*a.readings, *b.readings)) else None
