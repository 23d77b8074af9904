"""Numbers: read whole and exactly, with sign, separators, fraction, power of ten, currency, percent sign and unit."""

import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import number_words
from mtjax.data.answers.normal import listed
from mtjax.data.answers.units import UNITS, Unit, inverse_units, read_unit, singular

LONGEST = 400  # Longer texts than this are not read as a number.

_UNSIGNED = (
    r"(?:[0-9]{1,3}(?P<sep_>[,_' ])[0-9]{3}(?:(?P=sep_)[0-9]{3})*(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
)
_A, _B, _C = (_UNSIGNED.replace("sep_", name) for name in ("a", "b", "c"))
_MONEY = r"(?:US\$|USD|EUR|GBP|INR|CAD|AUD|Rs\.?|[$€£¥₹])"
_HEAD = re.compile(
    rf"(?P<sign>[-+] ?)?(?P<money>{_MONEY})? ?(?P<inner>[-+] ?)?"
    r"(?:(?P<whole>[0-9]+) (?:and )?(?=[0-9]+ ?/ ?[0-9])(?P<top>[0-9]+) ?/ ?(?P<bottom>[0-9]+)"
    rf"|(?P<num>{_A}) ?/ ?(?P<den>[-+]?{_B})"
    r"|(?P<tens>10) ?\^ ?(?:\{ ?(?P<raised>[-+]?[0-9]{1,3}) ?\}|(?P<up>[-+]?[0-9]{1,3})(?![0-9]))"
    rf"|(?P<plain>{_C})(?:[eE](?P<exp>[-+]?[0-9]{{1,3}})(?![0-9A-Za-z])"
    r"| ?(?:\\times|[*x]) ?10 ?\^ ?(?:[{(] ?(?P<power>[-+]?[0-9]{1,3}) ?[)}]|(?P<bare>[-+]?[0-9]{1,3})(?![0-9])))?)"
)
_DECADE = re.compile(r"(?:in )?(?:the )?(?:(?:early|mid|late)[ -])?(?:1[5-9]|20)\d0'?s", re.I)
_REPEATING = re.compile(r"([-+]?)([0-9]*)\.([0-9]*)\\overline *\{?([0-9]+)\}?$")
_PLAIN = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_SCALE = re.compile(
    r"(?P<short>[kKMB](?![A-Za-z/^°*])|bn\b|mn\b| ?(?:mil|mln|bil|bln)\b)|(?: ?-?)"
    r"(?P<long>thousand|million|billion|trillion|dozen|lakh|crore)s?\b",
    re.I,
)
_SHORT = {"k": 1000, "m": 10**6, "b": 10**9, "mn": 10**6, "bn": 10**9} | {"mil": 10**6, "mln": 10**6} | {
    "bil": 10**9, "bln": 10**9}  # fmt: skip
_PERCENT = re.compile(r" ?(?:%|per ?cent(?:age points?)?\b|pct\b|percentage points?\b)", re.I)
_BELOW_ZERO = re.compile(r"( degrees?(?: [Cc]elsius| [Ff]ahrenheit)?| ?°[CF]?)? (below|above) zero$")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_AFTER_MONEY = re.compile(rf" ?({_MONEY})(?![A-Za-z])")
_TAIL_WORD = re.compile(
    r"(?:[^\W\d_]|[°'’.%¢-])+(?:[/^]\{?-?(?:[^\W\d_]+(?:\^\{?[23]\}?)?|[23])\}?)*[,.]?|/|\([^\W\d_][^\W\d()]*\)"
)

_EITHER_SIDE = """or nor but not no never neither either than least most between except until unless if minus plus times
    divided multiplied squared cubed factorial mod modulo base maybe perhaps possibly might may could cannot can't
    isn't aren't wasn't don't doesn't didn't won't wouldn't couldn't unknown undefined infinite infinitely wrong
    incorrect false maximum minimum pi doubt doubtful unlikely
    ln sin cos tan cot sec csc exp arcsin arccos arctan sqrt
    nicht kein keine pas jamais nie nunca niet oder ou не ni"""
BEFORE = frozenset(
    f"""{_EITHER_SIDE} over under above below up from through twice double triple half root sqrt log step steps see
    before after
    equation line question problem part example figure option choice instead rather initially originally initial
    started starts start suppose assume assuming first other another what how why without excluding besides
    when probably likely presumably page chapter section exercise considered tried nothing close
    off rule ruled guess guessed hunch let try given exclude excludes excluded eliminate eliminated discard discarded
    reject rejected forbidden denominator numerator""".split()
)  # words that change what a number behind them says
POSITIONAL = frozenset(
    listed("over under above below up from through than before after page chapter section exercise close off given")
)
"""Those of them that change only a number right behind them."""
SOFT = frozenset(
    [
        "initially",
        "originally",
        "initial",
        "started",
        "starts",
        "start",
        "first",
        "other",
        "another",
        "when",
        "without",
        "excluding",
        "besides",
    ]
)
"""Those of them behind which a number may be what is asked for."""
BEHIND = frozenset(f"{_EITHER_SIDE} too and remainder rem r x power root thought ish".split())
"""Words that change what a number before them says."""
_NAMES_OF_TWO = re.compile(r"\b([A-Z][a-z]+) and (?=[A-Z][a-z])")  # in April and May
_TIMES = re.compile(
    r"times(?: (?:per|an?|each|every) [a-z]+| (?:as|more|larger|bigger|faster|longer|older|heavier|taller)\b.*)?$"
)


class Number(NamedTuple):
    """A number that was read whole."""

    value: Fraction  # exact; of a percentage out of 100
    percent: bool = False
    words: str = ""  # the unit and other words around it
    unit: Unit | None = None  # the unit, if it is known
    bare: Fraction | None = None  # the value without a word such as "dozen" or "thousand"; None if there is none
    places: int | None = None  # decimals shown; None for a fraction or words
    approximate: bool = False  # "about", "roughly"
    compound: bool = False  # several units, as in "3 hours 20 minutes"
    direction: int = 0  # 1 for "increases by", -1 for "a loss of"; 0 where nothing is said
    computed: bool = False  # approximate, but as the result of a computation with decimals: `= 16.7`
    rounded: Fraction | None = None  # what the text rounds the value to: 5 in "19/4 ≈ 5"
    beside: tuple[Fraction, ...] = ()  # numbers that the sentence names in passing, such as 20 in "12 of the 20"


def _exact(text: str) -> Fraction:
    return Fraction(re.sub(r"[,_' ]", "", text))


def _sign(*signs: str | None) -> int | None:
    """-1 or 1 from the signs before a number; None for two of them."""
    given = [sign.strip() for sign in signs if sign]
    return None if len(given) > 1 else -1 if given == ["-"] else 1


def read_number(text: str) -> Number | None:
    """The number that a text (in the spelling of `normal.plain`) is, with at most a unit around it; else None."""
    if len(text) > LONGEST or not text:
        return None
    if _PLAIN.fullmatch(text):
        return Number(Fraction(text), places=len(text.partition(".")[2]))
    text = re.sub(r"(?<=[0-9]) ?p$", " pence", text)
    if _DECADE.fullmatch(text):
        return None
    if re.fullmatch(r"\([0-9.,]+\)", text):  # 5, or -5 in accounts
        inside = read_number(text[1:-1])
        return inside and inside._replace(approximate=True)
    found = _HEAD.match(text)
    if found is None or "\\overline" in text:
        return _repeating(text) or _compound(number_words.in_digits(text)) or _in_words(text)
    sign = _sign(found["sign"], found["inner"])
    if sign is None or (compound := _compound(text)) is not None:
        return None if sign is None else compound
    places, bare = None, None
    if found["whole"]:
        bottom = int(found["bottom"])
        value = int(found["whole"]) + Fraction(int(found["top"]), bottom) if bottom else None
    elif found["num"]:
        bottom_value = _exact(found["den"])
        value = _exact(found["num"]) / bottom_value if bottom_value else None
    elif found["tens"]:
        value = Fraction(10) ** int(found["raised"] or found["up"])
    else:
        value = _exact(found["plain"])
        power = found["exp"] or found["power"] or found["bare"]
        places = len(found["plain"].partition(".")[2]) if not power else None
        value = value if not power else value * Fraction(10) ** int(power)
    if value is None:
        return None
    return _with_tail(sign * value, text[found.end() :], found["money"] or "", places, bare)


def _with_tail(value: Fraction, tail: str, money: str, places: int | None, bare: Fraction | None) -> Number | None:
    """The number with what stands behind it: scale, percent sign, unit; None if that changes what it says."""
    if scale := _SCALE.match(tail):
        short = (scale["short"] or "").lower().strip()
        if short in ("m", "b") and scale["short"].islower() and not money:
            scale = None
        else:
            size = _SHORT[short] if short else number_words.SCALES.get(scale["long"].lower()) or 12
            value, bare, places, tail = value * size, value, None, tail[scale.end() :]
    elif ordinal := _ORDINAL.match(tail):
        tail = tail[ordinal.end() :]
    if below := _BELOW_ZERO.match(tail):
        value, tail = value if below[2] == "above" or value < 0 else -value, below[1] or ""
    percent = _PERCENT.match(tail)
    tail = tail[percent.end() :] if percent else tail
    if not money and (behind := _AFTER_MONEY.match(tail)):
        money, tail = behind[1], tail[behind.end() :]
    attached, tail = tail[:1].isalpha(), inverse_units(tail.strip())
    added = number_words.and_part(number_words.tokens(tail), 0) if tail.startswith("and ") else None
    if added:
        value, tail = value + (added[0] if value >= 0 else -added[0]), " ".join(tail.split()[added[1] :])
    unit = read_unit(money.strip(".")) if money else None
    if attached and re.fullmatch(r"[a-z]{2}|[ie]|-?ish\b.*", tail) and not read_unit(tail):
        return None  # a product of letters, as in 5ab, a complex number, or "18ish"
    if tail:
        if not (tail[0].isalpha() or tail[0] in "°¢-/(") or not _harmless(tail):
            return None
        unit = unit or read_unit(re.sub(r"^(?:of )?an? ", "", tail))
    return Number(value, bool(percent), f"{money} {tail}".strip(), unit, bare, places)


def _harmless(tail: str) -> bool:
    """Whether the words behind a number are a unit and say nothing else."""
    tail = _NAMES_OF_TWO.sub(r"\1", re.sub(r"\bleft until\b", "left before", tail))
    words = re.sub(r"/(?=[a-z])", " / ", _TIMES.sub("", tail.lower())).split()
    if len(words) > 14 or not all(map(_TAIL_WORD.fullmatch, words)):
        return False
    if re.search(
        r"\b(?:from now|later|ago|afterwards?)\b.*\b(?:is|was|will|would)\b|\b(?:it|he|she|they|we) (?:will|would)\b",
        tail,
    ):
        return False  # 5 days later it will be ...
    if re.match(r"[^\W\d_]{1,2}\^", tail) and not read_unit(tail):
        return False  # the power of a letter, as in 6x^2
    if re.search(r"(?:^|\s)- ?[a-z](?![a-z])|^[a-z] [-+]", tail):
        return False  # 2b - a
    called = re.match(r"(?:[a-z]+ ){0,2}(?:is|was) ([a-z]+)", tail)
    if called and called[1] not in _CONFIRMS and not re.search(r"(?:ed|en)$", called[1]):
        return False  # 77 is impossible
    if (below := re.match(r"/ ?([^\W\d_])(?![^\W\d_])", tail)) and below[1] not in UNITS:
        return False  # divided by a letter, as in -1/x^2
    if words and re.fullmatch(r"-|-[a-z](?![a-z]).*|.*(?<!mon)(?<!you)(?<!clo)(?<!tru)ths[.,]?", words[0]):
        return False  # 4 - x/2, or a part such as "hundred-and-fifths"
    return not {word.strip(".,()-") for word in words} & (BEHIND | number_words.NUMBER_WORDS)


_CONFIRMS = frozenset(
    listed("""the my our your his her their its what how correct right left needed required remaining exactly equal
    spent sold lost therefore thus indeed also still now in on at for to per a an all enough""")
)


def _repeating(text: str) -> Number | None:
    r"""A decimal whose end repeats: `0.\overline{3}`."""
    found = _REPEATING.match(text)
    if found is None:
        return None
    sign, whole, first, again = found.groups()
    value = Fraction(
        int(whole + first + again or 0) - int(whole + first or 0), 10 ** len(first) * (10 ** len(again) - 1)
    )
    return Number(-value if sign == "-" else value)


_AND_A_PART = re.compile(
    r"^(an|a|one|two|three|four|five|six|[0-9]+) (hours?|minutes?|days?|weeks?|months?|years?|miles?|cups?|lit(?:er"
    r"|re)s?|kilos?|pounds?|(?:tea|table)spoons?) and (a half|a quarter)$",
    re.IGNORECASE,
)


_ONE_UNIT = re.compile(
    r"(?P<part>quarter of )?(?:only )?an? "
    r"(?P<unit>second|minute|hour|day|week|month|year|mile|kilometer|meter|dollar|euro|gallon|liter)"
)


def _in_words(text: str) -> Number | None:
    if one := _ONE_UNIT.fullmatch(text):
        return read_number(f"{'0.25' if one['part'] else '1'} {one['unit']}")
    text = _AND_A_PART.sub(
        lambda said: f"{'one' if said[1].lower() in ('a', 'an') else said[1]} and {said[3]} {said[2]}", text
    )
    words = number_words.tokens(text)
    if words[:2] == ["one", "of"]:
        return None
    sign = -1 if words[0] in ("minus", "negative") else 1
    words = words[1:] if words[0] in ("minus", "negative", "plus") else words
    if words and _HEAD.match(words[0]) and sign < 0:
        found = read_number(" ".join(words))
        return found and found._replace(value=-found.value)
    read = number_words.read_words(words)
    if read is None:
        return None
    value, used, bare = read
    found = _with_tail(sign * value, " " + " ".join(words[used:]), "", None, None)
    return found and found._replace(bare=sign * bare if bare != value else found.bare)


_TWO_COINS = re.compile(
    r"(?=[£€]|[0-9]+ ?(?:pound|euro))(?:[£€] ?)?(?P<n>[0-9]+)(?: ?(?:pounds?|euros?))?,? (?:and )?(?P<m>[0-9]{1,2}) ?"
    r"(?P<small>p|pence|(?:euro)?cents?)"
)
_PIECE = re.compile(rf"(?P<n>{_A}) ?(?P<unit>[A-Za-z]+|[¢°])\.?(?: ?(?:,|and|&))* ?")


def _compound(text: str) -> Number | None:
    """Several units of one kind from large to small: `3 hours 20 minutes`, `$5 and 50 cents`, `5'6"`; else None."""
    text = re.sub(r"^([0-9]+) ?h ?([0-5][0-9])(?: ?m(?:in)?)?$", r"\1 hours \2 minutes", text)
    text = re.sub(r"^([0-9]+) ?' ?([0-9]{1,2}(?:\.[0-9]+)?) ?(?:\"|'')?$", r"\1 feet \2 inches", text)
    text = re.sub(rf"^\$ ?({_B})", r"\1 dollars", text)
    if coins := _TWO_COINS.fullmatch(text):
        large, small = ("quid", "pence") if coins["small"][0] == "p" else ("euro", "eurocent")
        text = f"{coins['n']} {large} {coins['m']} {small}"
    at, pieces = 0, []
    while piece := _PIECE.match(text, at):
        if piece["unit"].lower() not in UNITS and singular(piece["unit"]) not in UNITS:
            return None
        pieces.append((_exact(piece["n"]), UNITS[singular(piece["unit"])]))
        at = piece.end()
    if len(pieces) < 2 or (at < len(text) and not _harmless(text[at:])):
        return None
    factors = [unit.factor for _, unit in pieces]
    if len({unit.measures for _, unit in pieces}) > 1 or factors != sorted(set(factors), reverse=True):
        return None
    smallest = pieces[-1][1]
    total = sum((number * unit.factor / smallest.factor for number, unit in pieces), Fraction(0))
    if smallest.measures == "dollar":
        return Number(total * smallest.factor / 100, words=text[at:], unit=UNITS["$"])
    return Number(total, words=text[at:], unit=smallest, compound=True)
