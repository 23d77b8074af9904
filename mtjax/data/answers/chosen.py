"""Which number of a sentence answers a question: by what each one is to the question."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers.asked import CUES, Asked, behind, of_kind, stem, stems, values
from mtjax.data.answers.normal import plain
from mtjax.data.answers.numbers import LONGEST, Number, read_number
from mtjax.data.answers.roles import NUMERAL, SPELLED, VERBS
from mtjax.data.answers.units import UNITS

OPEN = re.compile(
    r"\?\W*$|\b(?:unless|whether|maybe|perhaps|possibly|probably|might|(?-i:may)|either|neither|unsure|not sure"
    r"|suppos\w+|assum\w+|guess|wrong|incorrect|mistake|unknown|impossible|depend\w*|wait|actually|hmm|at (?:least"
    r"|most)|instead|once|factorial|should have|would have|says?|said|claims?)\b|\bbetween (?=[-$€£]*\d)"
    r"|\b(?:more|longer|later) than\b.*\bbut (?:less|shorter|earlier) than\b",
    re.IGNORECASE,
)
"""Words of a sentence that leaves its numbers open."""
DENIES = re.compile(r"\b(?:not|never|none|without|cannot|fail\w*)\b|n't\b", re.IGNORECASE)
_NUMBER = re.compile(rf"(?<![\w.^_])(?:{NUMERAL}|{SPELLED})", re.IGNORECASE)
_OPERATOR = re.compile(
    r"(?: ?[A-Za-z%¢°/]+[.)]*){0,3}[) ]*(?:[+*/^]|(?<![A-Za-z])-|\\times|[xX]|\b(?:plus|minus|times|over"
    r"|(?:divided|multiplied) by)\b) ?\\?[-($€£.\d]"
)
_OPERAND = re.compile(
    r"(?:[-+*/^]|\\times|(?<=[\d) ])[xX]|\b(?:plus|minus|times|over|divided by|multiplied by)) ?\(?[$€£]?$"
)
_EQUALS = re.compile(r"(?:=|\\approx) ?[$€£]?$")
_INSTRUCTED = re.compile(r"\b(?:multiply|divide) [^,;]*\bby [$€£]?$|\b(?:add|subtract|multiply|divide) [$€£]?$", re.I)
BREAK = re.compile(
    r"[,;:](?!\d)|\s[-–—]+\s|\b(?:and|while|but|so|with|leaving|which|because|since|whereas|then|making|giving|means?"
    r"|plus|after)\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(r" (?:[a-z]+ )?(?:more|fewer|less|[a-z]{3,}er)\b.*?\bthan\b| times (?:as|more|the)\b")
_EACH = re.compile(
    r"(?: [a-z]+){0,2} ?(?:/ ?[a-z]+|\b(?:per|each|every|apiece)\b|\ban? (?:day|week|month|hour|minute|year|piece)\b)"
)
_APPOSED = re.compile(r", (?:is|are|was|were|has|have|had)\b")  # the rest, 14, are blue
_SPACED = re.compile(r"\b\d{1,3}(?: \d{3})+(?![\w-])")  # 325 000
_BARE_POINT = re.compile(r"(?<![\w.)])\.(?=\d)")  # .75
_LISTED = re.compile(r",? (?:and )?[$€£]?\d")  # 16 and 21 pens
_DIFFERENCE = re.compile(r"=|\b(?:difference|differs?|more|less|fewer|by|out\w+ed|[a-z]{3,}er)\b", re.IGNORECASE)
_LEAVES = re.compile(r"\b(?:leaving|leaves)(?: [a-z]+)? [$€£]?$")
_ROUNDED = re.compile(r"\bround\w* (?:it )?(?:up |down |off )?(?:to )?[$€£]?$")
_FROM = re.compile(r"\bfrom [$€£]?$")
_ABOUT = re.compile(
    r"\b(?:approximately|approx\.?|roughly)|[~≈]|\\approx|\b(?:about|around|nearly|almost|some|over|under) ?[$€£]?$",
    re.I,
)
_GIVEN = re.compile(r"\b(?:the|her|his|their|its|those|these|original|first|all)(?: (?:original|other))? $", re.I)


LONGEST_SENTENCE = 1500  # longer ones are not read by their question


class Candidate(NamedTuple):
    """A number of a sentence that may be the answer."""

    text: str
    number: Number
    clause: str
    behind: str  # the words right behind it, up to a verb, preposition or mark
    lead: str  # all that stands before it
    rest: str  # all that stands behind it

    @property
    def computed(self) -> bool:
        """Whether it is the result of a computation."""
        return bool(_EQUALS.search(self.lead))


class Choice(NamedTuple):
    """The value that a reply answers its question with."""

    text: str
    number: Number
    certain: bool  # by whose or which it is, so that another number of the sentence cannot be meant
    others: tuple[Number, ...]  # the other numbers of the sentence that might be it
    said: tuple[int, int]  # how much it is said of what is asked for: its kind, and how many words of the question
    rough: bool  # about so much


def candidates(sentence: str) -> list[Candidate]:
    """The numbers of a sentence without operands of its computations, each with its clause."""
    text = _SPACED.sub(lambda number: number[0].replace(" ", ""), _BARE_POINT.sub("0.", plain(sentence)))
    found = [one for one in _NUMBER.finditer(text) if len(one[0]) <= LONGEST and ":" not in one[0]]
    out = []
    for place, one in enumerate(found):
        last = found[place - 1].end() if place else 0
        following = found[place + 1].start() if place + 1 < len(found) else len(text)
        lead, rest = text[: one.start()], text[one.end() :]
        if (
            _OPERATOR.match(rest)
            or _INSTRUCTED.search(lead)
            or (_OPERAND.search(lead) or "=" in rest)
            and not _EQUALS.search(lead)
        ):
            continue
        breaks = [cut.end() for cut in BREAK.finditer(text, last, one.start())]
        start = breaks[0] if breaks and place else last
        ends = [cut.start() for cut in BREAK.finditer(text, one.end(), following)] + [following]
        end = ends[1] if len(ends) > 1 and _APPOSED.match(rest) else ends[0]
        words = behind(rest)
        number = read_number(" ".join([one[0], *words[:3]])) or read_number(one[0])
        of_given = (place or re.search(r"\bof \w+ $", lead)) and _GIVEN.search(lead) or _FROM.search(lead)
        if number and not (of_given or "/" in one[0] and re.match(" of", rest)):
            out.append(Candidate(one[0], number, text[start:end], " ".join(words), lead, rest))
    return out


def _kept(found: list[Candidate], keep: Callable[[Candidate], object]) -> list[Candidate]:
    """Those that a rule keeps, or all if it keeps none."""
    return [one for one in found if keep(one)] or found


def _supposes_the_given(text: str, asked: Asked) -> bool:
    """Whether a sentence with "if" supposes what the question says, or computes: `If 9 of the 20 left, 11 stayed`."""
    case, _, rest = text.partition(", ")
    plainly = (
        case.startswith("If ") and rest and not re.search(r"\b(?:if|would|could|had|were)\b", f"{case[3:]} {rest}")
    )
    return bool(plainly) and ("=" in rest or values(case) <= asked.given)


def choose_number(sentence: str, before: str, asked: Asked) -> Choice | None:
    """The number of a reply's last sentence that answers the question; None if that is not clear.

    Operands, rates, comparisons and things of other kinds are none; then those are left out that the question gives,
    that are denied (or not denied) otherwise than asked, that are another's, that are called otherwise, and that the
    reply has said before.

    >>> from mtjax.data.answers.asked import read_question
    >>> asked = read_question("Ann had 9 pens and gave 2 to Bo. How many pens does Ann have left?")
    >>> choose_number("Ann has 7 of her 9 pens left after giving 2 away.", "", asked).number.value
    Fraction(7, 1)
    """
    text = plain(sentence) if len(sentence) <= LONGEST_SENTENCE else "?"
    if (
        OPEN.search(text)
        or re.search("[<>]", text)
        or re.search(r"\bif\b", text, re.IGNORECASE)
        and not _supposes_the_given(text, asked)
    ):
        return None
    found = [one for one in candidates(sentence) if of_kind(one.number, one.behind, asked)]
    if "round" in text:
        found = [one for one in found if _ROUNDED.search(one.lead)]
    if not asked.rate:
        found = [one for one in found if not _EACH.match(one.rest)]
    compared = [one for one in found if _COMPARED.match(one.rest)]
    found = compared if asked.compares and compared else [one for one in found if one not in compared]
    if asked.compares and not compared and not _DIFFERENCE.search(text):
        return None
    if own := [one for one in found if asked.names & _names(one.clause)]:
        theirs = [one for one in found if one not in own and asked.others & _names(one.clause)]
        found = [one for one in found if one not in theirs]
        if theirs and len({_amount(one, asked) for one in found}) == 1 and found == own:
            return _choice(found, [], asked, True)
    cues = CUES & asked.words
    new = [one for one in found if one.computed or one.number.value not in asked.given or cues & stems(one.clause)]
    if not new:
        return None
    listed = re.search(r"\bor\b", sentence) or any(_LISTED.match(one.rest) for one in new)
    if listed and len({_amount(one, asked) for one in new}) > 1:
        return None
    best = max(of_kind(one.number, one.behind, asked) for one in new)
    certain = False
    steps: tuple[tuple[bool, Callable[[Candidate], object]], ...] = (
        (True, lambda one: bool(DENIES.search(one.clause)) == asked.denied),
        (True, lambda one: asked.adjectives & stems(one.behind)),
        (False, lambda one: of_kind(one.number, one.behind, asked) == 3),
        (False, lambda one: CUES & asked.words or not _LEAVES.search(one.lead)),
        (False, lambda one: _cues(one, asked) == max(_cues(other, asked) for other in new)),
        (False, lambda one: of_kind(one.number, one.behind, asked) == best),
        (False, lambda one: one.number.value not in values(before)),
        (False, lambda one: one is new[-1] and _result(new, asked)),
    )
    for strong, keep in steps:
        if len({_amount(one, asked) for one in new}) > 1:
            new = _kept(new, keep)
            certain = strong
    last = new[-1]
    again = last.computed or re.match(r"\W*(?:that's|that is|which is|or)\b", last.clause)
    denied = bool(DENIES.search(text if asked.denied and again else last.clause))
    if len({_amount(one, asked) for one in new}) > 1 or denied != asked.denied:
        return None
    rivals = [one for one in found if _amount(one, asked) != _amount(last, asked)]
    others = all(asked.others & _names(one.clause) for one in rivals) and not asked.others & _names(last.clause)
    return _choice(new, rivals, asked, certain or bool(rivals and _cues(last, asked) and others))


def _choice(found: list[Candidate], rivals: list[Candidate], asked: Asked, certain: bool) -> Choice:
    """The last of some numbers with one value as the choice, beside its rivals."""
    last = found[-1]
    others = tuple(one.number for one in rivals if one.number.value not in asked.given)
    said = of_kind(last.number, last.behind, asked), _cues(last, asked)
    return Choice(last.text, last.number, certain, others, said, bool(_ABOUT.search(last.lead)))


def _names(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[A-Z][a-z]+", text))


def _amount(one: Candidate, asked: Asked) -> Fraction:
    """The value of a number in the unit that is asked for, if it has a unit of that kind."""
    unit, wanted = one.number.unit, asked.unit
    if unit and wanted and wanted.factor and unit.measures == wanted.measures:
        return one.number.value * unit.factor / wanted.factor
    return one.number.value


def _cues(one: Candidate, asked: Asked) -> int:
    """How much of the question, but for the noun and the names, stands in the clause of a number; cues count thrice."""
    shared = stems(one.clause) & asked.words - {asked.noun} - UNITS.keys() - {stem(name) for name in asked.names}
    return len(shared) + 2 * len(shared & CUES)


def _result(found: list[Candidate], asked: Asked) -> bool:
    """Whether the last of some numbers comes from one before and another or a given one, and has its own verb."""
    last, numbers = found[-1], [one.number.value for one in found[:-1]]
    if not last.clause.startswith(" to ") and not any(
        word in VERBS for word in re.findall(r"[a-z]+", last.clause.lower())
    ):
        return False
    pairs = ((a, b) for a in numbers for b in {*numbers, *asked.given} if a != b)
    return any(last.number.value in (a + b, a - b, b - a, a * b, b and a / b, a and b / a) for a, b in pairs)


_ALL = re.compile(r"=|\b(?:they|them|two of|adds? up|make)\b", re.IGNORECASE)
_GETS = re.compile(r"\b(?:we|you|to) (?:get|find|obtain)\b|\bgives\b", re.IGNORECASE)


def finishes(sentence: str, asked: Asked) -> bool:
    """Whether a last sentence is about what is asked, and says a total where one is asked for."""
    said = stems(sentence)
    return (bool(said & asked.words) or bool(_GETS.search(sentence))) and (
        "total" not in asked.words or "total" in said or bool(_ALL.search(sentence))
    )
