"""What a question asks for: its unit, what is counted, of whom, and which numbers it gives."""

import functools
import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import number_words
from mtjax.data.answers.normal import listed, plain
from mtjax.data.answers.numbers import LONGEST, Number
from mtjax.data.answers.roles import tokens
from mtjax.data.answers.units import Unit, read_unit, singular

_CUES = {
    "left": "left remain rest still over unsold unused unfinish unread uneaten keep",
    "total": "total altogether combin together overall whole sum entire grand",
    "solution": "root zero solv",
    "average": "averag mean",
    "empty": "empty free available vacant",
    "now": "now currently today present",
}
CUES = frozenset(_CUES)
"""Stems that say which of several numbers is asked for."""
_CUE = {word: cue for cue, group in _CUES.items() for word in group.split()}
_FUNCTION = frozenset(
    listed(
        """a an the of in on at to for from by with as is are was were be been being am do does did done has have had
    having will would can could should shall may might must how many much what which who whom whose when where why that
    this these those there it its he she they them his her their him i we you your my our us and or but so if then than
    not no each every per any some more most also just only about after before during while because since into out up
    down off again very same such too get got need take make number amount one find value compute determine calculate
    answer must thus therefore hence solve evaluate express given let suppose between among until"""
    )
)
_ADDED = frozenset(listed("more additional extra whole full total other different new of the his her its their"))
_AUXILIARY = r"is|are|was|were|am|do|does|did|can|could|will|would|should|has|have|had|must"
_TRUTH = re.compile(rf"(?:.*[,:]\s+)?(?:so )?(?P<aux>{_AUXILIARY})\b(?!.*\bor\b)", re.IGNORECASE | re.DOTALL)
_ASKS = re.compile(
    r"\b(?:how|what|which|find|determine|calculate|compute|express|solve|evaluate|simplify|expand)\b", re.IGNORECASE
)
_MANY = re.compile(r"\bhow (?:many|much) (?P<rest>[^?,]+)", re.IGNORECASE)
_IN_UNIT = re.compile(
    r"\bin ((?:square |cubic )?(?:[a-z]{3,}s|feet|inches|[kcm]m|k?g|m?l)(?:\^?[23])?(?:(?: per |/)[a-z]+)?)\b",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"(?<!\d )\bper ?cent(?:age)?\b", re.IGNORECASE)
_MONEY = re.compile(r"\b(?:how much|price|cost|total|paid?|bill|earn\w*|spen[dt]|worth|change|money|profit)\b", re.I)
_RATE = re.compile(r"\b(?:per|each|every|apiece|average|rate|speed|single|one)\b|\ban? (?:day|week|hour|month)", re.I)
_COMPARES = re.compile(
    r"\b(?:more|fewer|less|\w+er)\b.*\bthan\b|\bdifference\b|\bhow many more\b|\bhow much more\b", re.I
)
_NOT_UNITS = frozenset(listed("in m s h c g l min all total order terms degree degrees cup cups yard yards"))


class Asked(NamedTuple):
    """What a question asks for; without a question nothing is known."""

    question: str = ""
    sentence: str = ""  # the one that asks
    auxiliary: str = ""  # of a question to be answered by yes or no: "did"
    unit: Unit | None = None  # in which the answer is asked for
    percent: bool = False
    noun: str = ""  # what is counted, in singular
    adjectives: frozenset[str] = frozenset()  # stems of the words before the noun
    things: frozenset[str] = frozenset()  # other things that the question counts
    words: frozenset[str] = frozenset()  # stems of what is asked, with cues such as "left" for "remain"
    names: frozenset[str] = frozenset()  # whose number is asked
    others: frozenset[str] = frozenset()  # the other names of the question
    given: frozenset[Fraction] = frozenset()  # the numbers of the question
    denied: bool = False  # how many do *not*
    rate: bool = False  # how many for each
    compares: bool = False  # how many more
    formulas: tuple[str, ...] = ()  # those of the sentence that asks


def stem(word: str) -> str:
    """What forms of one word share, roughly: `remaining`, `remains` and `left` are one cue."""
    word = singular(word)
    if word in _CUE:
        return _CUE[word]
    for end in ("ing", "ed", "es", "e"):
        if len(word) > len(end) + 2 and word.endswith(end):
            word = word[: -len(end)]
            break
    return _CUE.get(word, word)


_IN_ALL = re.compile(r"\bin all\b|\ball of (?:them|the|these|those)\b")


def stems(text: str) -> frozenset[str]:
    """The stems of the words of a text that say more than grammar."""
    return frozenset(
        stem(word) for word in re.findall(r"[^\W\d_]{2,}", _IN_ALL.sub("total", text.lower())) if word not in _FUNCTION
    )


def values(text: str) -> frozenset[Fraction]:
    """The numbers of a text, in digits or in words."""
    found = set()
    for token in tokens(text):
        if token.kind == "number" and len(token.text) <= LONGEST:
            if token.text[0].isalpha() and (spelled := number_words.read_words(number_words.tokens(token.text))):
                found.add(spelled[0])
            elif digits := re.fullmatch(r"[-+]?[$€£₹]?[-+]?(\d[\d,]*(?:\.\d+)?)%?", token.text):
                found.add(Fraction(digits[1].replace(",", "")))
    return frozenset(found)


def _names(text: str) -> frozenset[str]:
    """The words in capitals that may be names, also those that begin a sentence."""
    found = (word for word in re.findall(r"\b[A-Z][a-z]+\b", text) if word.lower() not in _FUNCTION | _ADDED)
    return frozenset(word for word in found if word.lower() not in number_words.NUMBER_WORDS)


def _unit(sentence: str, question: str) -> Unit | None:
    named = _IN_UNIT.search(sentence)
    if named and named[1].lower() not in _NOT_UNITS and (unit := read_unit(named[1])):
        return unit
    if many := _MANY.search(sentence):
        words = many["rest"].split()
        while words and words[0].lower() in _ADDED:
            words = words[1:]
        if words and len(words[0]) > 1 and (unit := read_unit(" ".join(words[:3]))):
            return unit
    return _PRICE if "$" in question and not _MANY_THINGS.search(sentence) and _MONEY.search(sentence) else None


_PRICE = Unit("dollar", Fraction(0))  # dollars are asked for, but not by name
_MANY_THINGS = re.compile(
    r"\bhow (?:many|long|far|old|often)\b|\bwhat (?:time|fraction|number)\b|percent", re.IGNORECASE
)


def _noun(sentence: str) -> tuple[str, frozenset[str]]:
    """What is counted: the first plural behind "how many"; and the words before it."""
    found = re.search(
        r"\bhow many (?:of (?:the|these|those|his|her|their|its) )?((?:[a-z'-]+ ?)+)", sentence, re.IGNORECASE
    )
    before: list[str] = []
    for word in found[1].lower().split()[:4] if found else ():
        if word in _FUNCTION - _ADDED or word == "times" or "-" in word:
            break
        if word in _PLURALS or word.endswith("s") and not word.endswith("ss") and stem(word) not in CUES:
            return stem(word), stems(" ".join(before)) - CUES
        before.append(word)
    return "", frozenset()


def _things(text: str, sentence: str) -> frozenset[str]:
    """What stands behind numbers of a question, and the plurals of the sentence that asks."""
    counted = [" ".join(behind(text[token.end :])) for token in tokens(text) if token.kind == "number"]
    plurals = [word for word in re.findall(r"[a-z]{4,}", sentence) if word[-1] == "s" != word[-2]]
    return stems(" ".join((*counted, *plurals))) - CUES


_FORMULA = re.compile(r"(?<![\w$])(?=[^\s]*[a-z(])(?:(?![A-Za-z]{2})[\w()+*/^.-]| (?=[-+*/=])|(?<=[-+*/=]) ){3,200}")


def _formulas(question: str) -> tuple[str, ...]:
    """The formulas of a question, between dollars or as they stand in a sentence without, without spaces."""
    text = re.sub(r"\$[^$\n]*\$", " ", question)
    bare = [one.rstrip(" .").replace(" ", "") for one in _FORMULA.findall(plain(text))]
    dollars = [plain(one).replace(" ", "") for one in re.findall(r"\$([^$\n]{3,200})\$", question)]
    return (*dollars, *(one for one in bare if re.search(r"[a-z]", one) and re.search(r"[-+*/^]", one)))


_PLURALS = frozenset(listed("people children men women fish sheep mice geese feet teeth deer"))


@functools.lru_cache(maxsize=1024)
def read_question(question: str) -> Asked:
    """What a question asks for; nothing if it asks for two things, or is too long to be one problem.

    >>> asked = read_question("Ann has $5. How many cents does she have left?")
    >>> asked.unit.measures, asked.given, sorted(asked.words)
    ('dollar', frozenset({Fraction(5, 1)}), ['cent', 'left'])
    """
    text = plain(re.split(r"\s+(?:Answer Choices|Options)\b|\s\(?A\)\s|\n\W*A[.:]\s", question)[0])
    if not text or len(question) > 4000:
        return Asked()
    sentences = re.split(r"(?<=[.?!])\s+", text)
    asking = [one for one in sentences if one.endswith("?")] or [one for one in sentences if _ASKS.search(one)][-1:]
    if len(asking) != 1:
        return Asked()
    sentence = asking[0]
    truth = _TRUTH.match(sentence) if not _ASKS.search(sentence) else None
    names = _names(sentence)
    noun, adjectives = _noun(sentence)
    return Asked(
        text,
        sentence,
        truth["aux"].lower() if truth else "",
        _unit(sentence, text),
        bool(_PERCENT.search(sentence)),
        noun,
        adjectives,
        _things(text, sentence) - {noun},
        stems(sentence),
        names,
        _names(text) - names,
        values(text),
        bool(re.search(r"\b(?:not|without|never|no)\b|n't\b", sentence, re.IGNORECASE)),
        bool(_RATE.search(sentence)),
        bool(_COMPARES.search(sentence)),
        _formulas(question),
    )


_ENDS_NOUN = frozenset(
    listed(
        """in on at to for from by with as is are was were be has have had and or but so if then than while during
    because since each per every apiece after before until which that who when where out of the this those these does do
    did will would can could not don't doesn't didn't remain remains remaining left still more total altogether"""
    )
)


def behind(rest: str) -> list[str]:
    """The words behind a number up to a verb, preposition or mark, at most four."""
    words = re.match(r"(?:[ -]?[^\W\d_]+(?:['/^-]\w+)*|[¢°]\w?)*", rest)
    out: list[str] = []
    for word in words[0].split() if words else ():
        if word.lower() in _ENDS_NOUN or len(out) == 4:
            break
        out.append(word)
    return out


_CHANCE = re.compile(r"\b(?:probability|chances?|likelihood)\b", re.IGNORECASE)


def of_kind(number: Number, words: str, asked: Asked) -> int:
    """3 if a number has the unit that is asked for, 2 if another one of its kind or the noun, 1 if nothing, else 0.

    Args:
        number: as it was read.
        words: what stands behind it.

    >>> asked = read_question("Ann has 3 cats and 4 dogs. How many legs do they have?")
    >>> of_kind(Number(Fraction(28)), "legs", asked), of_kind(Number(Fraction(7)), "dogs", asked)
    (2, 0)
    """
    named = stems(" ".join(behind(f" {words}")))
    if asked.percent:
        return 2 if number.percent else 0 if number.unit or named else 1
    if number.percent:
        return 2 if _CHANCE.search(asked.sentence) else int("%" in asked.question and not asked.noun)
    if asked.unit:
        unit = number.unit
        if asked.noun in named:
            return 3
        return 2 if unit and unit.measures == asked.unit.measures else 0 if unit or named else 1
    if asked.noun in named:
        return 2
    return 0 if asked.noun and (number.unit or named & asked.things) else 1


def in_unit(number: Number, asked: Asked) -> Number:
    """A number without a unit, as the gold answer often is, in the unit that the question asks for."""
    if number.unit or number.words or number.percent or number.compound:
        return number
    if asked.percent:
        return number._replace(percent=True)
    return number._replace(unit=asked.unit) if asked.unit and asked.unit != _PRICE else number
