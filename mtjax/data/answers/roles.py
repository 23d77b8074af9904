"""What each number of a clause is to its verb: what the clause states, or what it names in passing."""

import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import number_words
from mtjax.data.answers.normal import listed
from mtjax.data.answers.numbers import BEFORE, BEHIND, POSITIONAL, SOFT

_WORD = "|".join(sorted(number_words.NUMBER_WORDS - {"a", "an", "one", "second", "third", "quarter", "half", "couple"}))
_LARGE = r"(?:hours?|hrs?|h|days?|weeks?|years?|minutes?|mins?|feet|foot|ft|yards?|pounds?|dollars?|euros?|km|kg|m)"
_SMALL = r"(?:hours?|minutes?|mins?|min|seconds?|days?|months?|weeks?|inch(?:es)?|in|ounces?|oz|cents?|pence|cm|g|m)"
NUMERAL = (
    rf"(?:\d+ ?{_LARGE},? (?:and )?\d+ ?{_SMALL}\b)|"
    r"[-+]?[$€£₹]?[-+]?(?:\d+ (?=\d+/\d))?\d[\d,]*(?<!,)(?:\.\d+)?(?:/\d+|:\d\d)?%?(?:(?<=:\d\d) ?[ap]\.?m\b\.?)?"
    r"(?![\w/]|[.,:]\d)"
)
SPELLED = rf"\b(?:{_WORD})(?:[- ](?:{_WORD}))*\b"
_TOKEN = re.compile(
    rf"(?P<number>(?<![\w.])(?:{NUMERAL}|{SPELLED}))|(?P<word>[^\W\d_]+(?:['-][^\W\d_]+)*)|(?P<mark>\S)", re.IGNORECASE
)
VERBS = frozenset(
    listed(
        """is are was were be has have had get gets got gave gives give make makes made cost costs take takes took
    need needs needed hold holds held contain contains contained weigh weighs weighed equal equals leave leaves left
    pay pays paid earn earns earned sell sells sold buy buys bought eat eats ate read reads run runs ran travel travels
    traveled walk walks walked drive drives drove cover covers covered produce produces produced bake bakes baked
    require requires required use uses used save saves saved spend spends spent receive receives received
    collect collects collected keep keeps kept end ends ended mean means finish finishes finished score scores scored
    lasts lasted yield yields comes come came becomes amounts charge charges charged lose loses lost wins won sees
    plant plants planted pick picks picked return returns returned own owns owned bring brings totals total averages
    work works worked owe owes owed burn burns burned fit fits carry carries carried serve serves served
    rise rises rose fall falls fell drop drops dropped increase increases increased decrease decreases decreased
    grow grows grew climbed shrank went goes reach reaches reached arrive arrives arrived hike hikes hiked fly flies
    flew swim swims swam borrow borrowed fill fills filled add adds added donate donates donated reduces
    simplifies evaluates remain remains remained survive survived break breaks broke"""
    )
)
"""Verbs behind which a clause says its number; a form that is a noun too counts only where a number follows."""
PREPOSITIONS = frozenset(
    listed(
        """for in at after before of with from by per on over under during within between among amongst across into onto
    than through about-to without since until until's upon against beyond via inside around-to out off versus vs like"""
    )
)
_CHANGES = frozenset(
    listed("""fell falls dropped drops rose rises went goes increased increases decreased decreases grew grows climbed
    climbs declined declines shrank shrinks moved moves reduced brings brought raises raised lowers lowered""")
)
_PRONOUNS = frozenset(listed("he she it they we you i who"))
_SCOPE = frozenset(listed("in on at for"))
_GIVES_TO = frozenset(listed("take takes took cost costs leave leaves left give gives gave"))
_ARITHMETIC = frozenset(listed("plus minus times divided multiplied shared split less by"))
_SKIPPED = frozenset(
    listed(
        """only just exactly about approximately roughly around another additional extra a an total of grand full whole
    now then still also up back back_to to him her them us it you me with each himself herself themselves the"""
    )
)
"""Words between a verb and the number that is its object."""
_DETERMINERS = frozenset(
    listed("the his her their its these those both my our your this that all other first last next")
)
_MEASURES = frozenset(
    listed(
        """total sum profit loss distance price amount area perimeter volume average mean speed length width height
    difference product quotient number gain discount increase decrease remainder age cost score temperature
    salary class group team set collection"""
    )
)
_PURPOSE = frozenset(listed("need needs needed has have had want wants going able used got ought order"))
_FORBIDDEN = (BEFORE - SOFT - POSITIONAL - _ARITHMETIC - {"half", "twice", "double", "triple", "most"}) | {"than"}
_DENYING = frozenset(listed("""not never no neither nor none nothing unless except without if whether maybe perhaps only
    cannot might could would should wrong incorrect"""))  # fmt: skip
_FORBIDDEN_BEHIND = (BEHIND - _ARITHMETIC - {"and"}) | {"than", "if", "unless"}


_MONEY = re.compile(r"[$€£₹]|^(?:dollars?|cents|euros?|rupees|pounds)$|\b(?:dollars?|cents|euros?|rupees|pounds)\b")
_DIFFERENCE = re.compile(
    r"(?P<lead>[^.,;]*?(?P<a>\d+(?:\.\d+)?)[^.,;]*? )(?P<b>\d+(?:\.\d+)?) (?P<unit>(?:[a-z]+ )?(?:more|less|fewer"
    r"|[a-z]+er)(?: [a-z]+)?) than (?:[A-Z]\w*'s |the )?(?P<c>\d+(?:\.\d+)?)"
)


def _differ(a: str, b: str, c: str) -> bool:
    return abs(Fraction(a) - Fraction(c)) == Fraction(b)


class Token(NamedTuple):
    """A number, word or sign of a sentence."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()


def tokens(text: str) -> list[Token]:
    """The numbers, words and signs of a text, in order."""
    return [Token(str(one.lastgroup), one[0], one.start(), one.end()) for one in _TOKEN.finditer(text)]


_NAME = re.compile(
    r"(?!(?:The|His|Her|Their|Its|These|Those|Both|All|Only|Exactly|Just|About|So|There|Each|Every|Of|In|At|For|With"
    r"|From|After|Out|Approximately|Around|And|Thus|Hence|Therefore|By|On|To|Another|Roughly|Nearly"
    r"|Answer)$)[A-Z][a-z]+"
)


def is_verb(line: list[Token], place: int) -> bool:
    """Whether a word is a verb: one of `VERBS`, or `rides` and the like right behind a pronoun or a name."""
    word, before = line[place].lower, line[place - 1] if place else None
    if word in VERBS:
        return True
    ends = word.endswith(("s", "ed")) and len(word) > 3 and word.isalpha()
    return ends and before is not None and (before.lower in _PRONOUNS or bool(_NAME.fullmatch(before.text)))


def _governor(line: list[Token], at: int) -> tuple[str, int]:
    """What the number at a place hangs on, as (`verb`, `given`, `preposition`, `with` or `start`, its place)."""
    if at + 1 < len(line) and line[at + 1].text == "-" and line[at + 1].start == line[at].end:
        return "given", at  # the 360-mile trip
    if at and (line[at - 1].lower.endswith("'s") or _NAME.fullmatch(line[at - 1].text) and at == 1 < len(line) - 1):
        return "given", at  # Ann's 35 stickers, Apollo 11 landed
    back = at - 1
    while back >= 0:
        token = line[back]
        word = token.lower
        if token.kind != "word":
            return "start", back
        to_her = back > 0 and word == "her" and line[back - 1].lower in _GIVES_TO
        if word in _DETERMINERS and back == at - 1 and not to_her:
            return "given", back
        if word == "of" and back and line[back - 1].lower in _MEASURES:
            back -= 2  # a profit of $5 stands where "profit" does
            continue
        if word == "to" and back and line[back - 1].lower in VERBS:
            back -= 1  # comes to 7, rose to 7
            continue
        if word == "to" and (change := [n for n in range(back) if line[n].lower in _CHANGES]):
            return "verb", change[-1]  # fell by 8 degrees to -3
        if word in PREPOSITIONS and not (word == "with" and back and line[back - 1].lower in ("up", "left")):
            return "preposition", back
        if word in ("and", "or", "plus", "minus", "times", "by", "versus"):
            return "with", back
        if is_verb(line, back):
            infinitive = back and line[back - 1].lower == "to"
            if infinitive and not (back > 1 and line[back - 2].lower in _PURPOSE):
                return "preposition", back - 1  # to reach her goal
            return "verb", back
        if word == "to":
            return "preposition", back
        if at - back > 6 or word not in _SKIPPED and not token.text.islower():
            return "start", back
        back -= 1
    return "start", back


def stated(clause: str) -> str | None:
    """A clause with several numbers reduced to the one that it states; None if that is not clear.

    The number that is the object of the verb is stated, or, without one, the only number of the subject. Numbers
    behind prepositions (`for 8 tickets`), behind *the* or *his*, and those of a subject whose verb has an object are
    named in passing.

    >>> stated("The 6 shelves hold 42 books with 7 on each")
    'It hold 42 books'
    >>> stated("4 miles a day times 30 days is 120 miles")
    'It is 120 miles'
    """
    line = tokens(clause)
    if (compared := _DIFFERENCE.fullmatch(clause)) and _differ(*compared.group("a", "b", "c")):
        return f"It is {compared['b']} {compared['unit']} than it"  # 24 is 8 more than 16
    places = [n for n, token in enumerate(line) if token.kind == "number"]
    if len(places) < 2 or any(token.text in "=<>^_\\?" for token in line):
        return None
    roles = {n: _governor(line, n) for n in places}
    objects = [n for n in places if roles[n][0] == "verb"]
    if objects:
        first = objects[0]
        others = [n for n in places if n > first and roles[n][0] in ("with", "start", "verb")]
        if others or len(objects) > 1:
            return None
        verb = roles[first][1]
        lead, between = line[:verb], line[verb:first]
        subject = "It" if any(token.kind == "number" for token in lead) else clause[: line[verb].start].strip()
    else:
        bare = [n for n in places if roles[n][0] == "start"]
        (role, place), last = roles[places[-1]], line[places[-1]]
        if not bare and role == "preposition" and any(is_verb(line, n) for n in range(place)):
            # all others are given: she will finish the 180-page book in 6 days
            return f"It is {clause[last.start :]}" if line[place].lower in _SCOPE else None
        if len(bare) != 1 or any(roles[n][0] == "with" for n in places):
            return None
        first, verb = bare[0], bare[0]
        lead, between, subject = line[:first], [], clause[: line[first].start].strip()
        if any(token.kind == "number" for token in lead):
            return None
    following = [n for n in places if n > first]
    stop = roles[following[0]][1] if following else len(line)
    if following and roles[following[0]][0] == "given":
        while stop > first and line[stop - 1].lower not in PREPOSITIONS | {"to"}:
            stop -= 1
        stop -= 1
    if stop <= first or any(line[n - 1].lower in ("to", "vs", "versus") and n - 2 in places for n in following):
        return None  # 40 to 50
    dropped = line[stop:] if following else []
    forbidden = _DENYING if subject == "It" else _FORBIDDEN
    if any(token.lower in forbidden for token in lead) or any(token.lower in _FORBIDDEN_BEHIND for token in dropped):
        return None
    if between and between[0].lower in _CHANGES and any(token.kind == "number" for token in between):
        between, subject = [], f"{subject} is"  # it fell from 5 to -3, and so is -3
    kept = clause[line[verb].start if between else line[first].start : line[stop - 1].end]
    if any(_MONEY.search(token.text) for token in dropped) and not _MONEY.search(kept):
        return None  # 96 cupcakes at $2 each, which cost more
    return f"{subject} {kept}".strip()
