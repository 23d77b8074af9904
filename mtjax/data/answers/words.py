"""Answers in words: yes and no, and short words."""

import difflib
import re
from typing import NamedTuple

from mtjax.data.answers.calendar import DAYS, MONTHS
from mtjax.data.answers.normal import listed


class Truth(NamedTuple):
    """Yes or no, or true or false."""

    positive: bool
    pair: str  # "yes" for yes and no, "true" for true and false


_TRUTHS = (
    dict.fromkeys(("yeah", "yep", "yup"), (True, "yes"))
    | dict.fromkeys(("nope", "nah"), (False, "yes"))
    | dict.fromkeys(
        listed("absolutely_not certainly_not definitely_not of_course_not not_at_all no_way"), (False, "yes")
    )
    | dict.fromkeys(listed("of_course absolutely certainly definitely indeed"), (True, "yes"))
    | {"yes": (True, "yes"), "no": (False, "yes"), "true": (True, "true"), "false": (False, "true")}
)
_TRUTH = re.compile(
    r"(?:indeed,? |i(?:'d| would)? (?:think|believe|say) |so |sure,? |(?:most )?(?:definitely|certainly|absolutely"
    r"|clearly|obviously),? |my answer (?:is|would be) )?(?:(?:the |this |that )?(?:statement|claim"
    r"|assertion|sentence|proposition|answer|function|program|expression|code|it|this|that)"
    r"(?: is|'s| returns| prints| outputs| gives| evaluates to)? |(?:output|result|returns): )?"
    r"(?:an? )?(?P<not>not )?(?P<truth>yes|no|true|false|yeah|yep|yup|nope|nah)\b(?P<rest>.*)",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:yes|true|false|but|however|unless|if|maybe|wait|actually|hmm|and no|or no|no(?=[,.;!]|$))\b",
    re.IGNORECASE,
)


_AGREES = re.compile(
    r"(?:sure|indeed|of course|correct|right),? (?:it|they|he|she|that|you|we) (?:is|are|was|were|does|do|did|can"
    r"|will|has|have)"
    r"|(?:that's|that is|it's|it is) (?:correct|right|true),? yes", re.IGNORECASE,
)  # fmt: skip
_GOES_ON = re.compile(r"^(?:they|it|he|she|you|we|i|that|there) [a-z ]+$")  # yes they could


def read_truth(text: str) -> Truth | None:
    """The yes or no that a text is, with at most an explanation behind a comma; else None."""
    if _AGREES.fullmatch(text):
        return Truth(True, "yes")
    if plain := _TRUTHS.get(text.lower().strip("!").replace(" ", "_")):
        return Truth(*plain)
    found = _TRUTH.fullmatch(text)
    if found is None:
        return None
    rest = re.sub(r"^ ?(?:indeed|of course|definitely|certainly|absolutely|way)\b", "", found["rest"].lstrip())
    rest = re.sub(r"^ ?(?:statement|claim|sentence|assertion)\b", "", rest) if " is a " in text else rest
    rest = _GOES_ON.sub("", rest)
    if rest and (rest[0] not in ",.!;:-(" or _UNSURE.search(rest)):
        return None
    positive, pair = _TRUTHS[found["truth"].lower()]
    return Truth(positive != bool(found["not"]), pair) if pair == "true" or not found["not"] else None


def same_truth(a: Truth, b: Truth) -> bool | None:
    """Whether two are the same; `no` and `true` are neither the same nor different."""
    return a.positive == b.positive if a.pair == b.pair else True if a.positive == b.positive else None


_LEAD = re.compile(
    r"^(?:(?:it|this|that|he|she|they)(?:'s| is| was| are| were| will be| will| would| must be)|so|thus) ",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:an?|the) (?=\S)", re.IGNORECASE)
_COUNTED_ON = re.compile(
    r"^\S+ (?:days?|weeks?|months?|years?) (?:after|before|from) [a-z]+ (?=(?:is|was|will|falls)\b)"
)
_NOTHING = frozenset(
    listed(
        """unknown undetermined undefined unclear unsure none nothing maybe sorry not never or and both neither
    either therefore thus hence so then also finally overall altogether perhaps possibly probably likely unlikely
    depends uncertain     unsolvable indeterminate inconclusive sure ok okay various any anything something hmm
    well hello hi thanks conclusion summary short"""
    )
)
_SETS = (
    frozenset(DAYS), frozenset(MONTHS), frozenset(["north", "south", "east", "west"]), frozenset(["left", "right"]),
    frozenset(listed("red blue green yellow orange purple black white pink brown grey")),
    frozenset(["more", "less", "equal"]), frozenset(["increase", "decrease"]), frozenset(["first", "second", "third"]),
    frozenset(["prime", "composite"]), frozenset(["even", "odd"]), frozenset(["positive", "negative"]),
    frozenset(["valid", "invalid"]), frozenset(["possible", "impossible"]), frozenset(["plausible", "implausible"]),
    frozenset(listed("ag al au ca cl cu fe hg mg na ni pb pt sn zn")),
)  # fmt: skip
OPPOSITES = {a: b for pair in _SETS if len(pair) == 2 for a, b in (sorted(pair), sorted(pair)[::-1])}
"""Words that deny each other, such as `prime` and `composite`."""
_SAID = "|".join((*DAYS, *MONTHS, *_SETS[2], *_SETS[4], *(name for pair in _SETS[8:-1] for name in sorted(pair))))
_NAMED = re.compile(
    rf"(?:(?:[a-z0-9']+,? ){{0,8}}(?:is|was|are|were|be|on|in|facing|blows|blowing|heading|heads|points|moves"
    rf"|goes|turns?|turned|went|walks?|walked|runs|ran|flies|flew|walking|facing|going|looking|travell?ing) (?:now )?)?"
    r"(?:(?:to|towards?) )?(?:the )?"
    rf"(?:on |in |facing |pointing )?(?:an? )?({_SAID})"
    r"(?: (?:that|this|next|last) (?:year|month|week))?"
)
DOUBTED = re.compile(
    r"\b(?:not|never|no|doubt|unlikely|if|whether|unless|maybe|perhaps|possibly|might|may (?!is|was)|could|or"
    r"|nor|than|false|wrong|yesterday|tomorrow|before|after|until|since)\b|n't\b"
)
_NAME_SAID = re.compile(
    r"(?:(?:The|Its|His|Her|Their|This|That|My|Our) (?:[a-z-]+ ){1,5}?|It )(?:is|was|'s) (?P<last>(?!A "
    r")[A-Z][a-z]{2,})!?|(?:It |The (?:[a-z-]+ ){1,4})(?:was|is|were) [a-z]+(?:ed|en) by (?P<by>[A-Z][a-z]{2,})"
    r"|(?P<first>[A-Z][a-z]{2,}) (?:is|was|has|had|runs|ran) the (?:[a-z]{3,}est|most [a-z]+)(?: [a-z]+)?"
)
"""A sentence that gives a name: `The planet is Neptune`, `Bob is the tallest`."""
_TURNED = re.compile(
    r"(?:[a-z]+ ){0,4}(?:turn(?:s|ed|ing)?|(?:to|on|at)(?: the| your| his| her)?|towards?(?: the)?|goes|went"
    r"|moves|moved) (left|right)"
)
_CLASSED = re.compile(
    r"(?:(?:the|its|this) )?(?:correct |final )?(?:label|sentiment|relation|relationship|category|class"
    r"|classification|verdict|"
    r"conclusion|topic|emotion|color|colour|shape|language|direction|tone) (?:is|was) (?:an? )?([a-z-]{3,})"
)
_OPPOSITES = ("in", "un", "im", "ir", "non", "non-", "dis")


def bare_words(text: str) -> str:
    """Words without case, articles and "it is" in front.

    >>> bare_words("It is a  Monday")
    'monday'
    """
    return _ARTICLE.sub("", _LEAD.sub("", " ".join(text.casefold().split()), count=1), count=1)


def read_word(text: str) -> str | None:
    """The single word that a text is; None for several, and for one that says nothing, such as "unknown"."""
    if name := _NAME_SAID.fullmatch(text):
        return (name["last"] or name["by"] or name["first"]).casefold() if not DOUBTED.search(text.casefold()) else None
    word = re.sub(r"^(?:in|at) (?=[a-z]+$)", "", bare_words(text.removesuffix("!")))
    word = _COUNTED_ON.sub("it ", word)
    if turned := _TURNED.fullmatch(word):
        return turned[1]
    if classed := _CLASSED.fullmatch(word):
        word = classed[1]
    if " " in word and (named := _NAMED.fullmatch(word)) and not DOUBTED.search(word[: named.start(1)]):
        return named[1]
    return word if re.fullmatch(r"[^\W\d_]{2,}(?:[-'][^\W\d_]+)*", word) and word not in _NOTHING else None


def same_word(a: str, b: str) -> bool | None:
    """Whether two words are the same; None where one may be another form or spelling of the other."""
    if a == b:
        return True
    if any({a, b} <= names for names in _SETS) or any(
        x == prefix + y for x, y in ((a, b), (b, a)) for prefix in _OPPOSITES
    ):
        return False
    short = min(len(a), len(b))
    alike = (
        difflib.SequenceMatcher(None, a, b).ratio() >= 0.7 or a[:4] == b[:4] or a[: min(short, 3)] == b[: min(short, 3)]
    )
    return None if alike or short <= 3 and a[0] == b[0] else False


def read_signs(text: str) -> tuple[str, ...] | None:
    """A sequence of brackets, such as the answers of Dyck languages; else None."""
    return tuple(text.replace(" ", "")) if re.fullmatch(r"[\[\](){}<> ]+", text) else None


def read_sequence(text: str) -> tuple[str, ...] | None:
    """Three or more words without commas, such as sorted words; else None."""
    text = re.sub(r"^(?:the |my )?(?:[a-z]+ ){0,2}(?:list|order|sequence|words) (?:is|are):? ", "", text.casefold())
    found = re.sub(r",? and (?=\S+$)|,", " ", text).split()
    return tuple(found) if len(found) > 2 and all(word.isalpha() for word in found) else None


def same_sequence(a: tuple[str, ...], b: tuple[str, ...]) -> bool | None:
    """Whether two sequences of words are the same; those of other words are neither the same nor different."""
    return True if a == b else False if sorted(a) == sorted(b) else None
