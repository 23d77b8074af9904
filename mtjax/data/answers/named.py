"""Which time, date, name or option a sentence answers its question with."""

import re
from collections.abc import Sequence

from mtjax.data.answers.asked import Asked, stem, stems
from mtjax.data.answers.calendar import DAYS, MONTHS
from mtjax.data.answers.choices import LETTERS
from mtjax.data.answers.chosen import BREAK, DENIES, OPEN
from mtjax.data.answers.normal import listed, plain
from mtjax.data.answers.reader import compare, read

REASONS = re.compile(r"[,;:]|\b(?:because|since|as)\b", re.IGNORECASE)
STANDS_FOR = frozenset(listed("one it them they he she there so such this that these"))
_MONTH = "|".join(name.title() for name in MONTHS)
_DAY = "|".join(f"(?i:{name})" for name in DAYS)
_CLOCK = re.compile(
    r"\b\d{1,2}(?::\d\d)? ?[ap]\.?m\b\.?|\b\d{1,2}:\d\d(?: (?:in the )?(?:morning|afternoon|evening))?"
    r"|\b(?:noon|midnight)\b",
    re.IGNORECASE,
)
_DATE = re.compile(
    rf"\b(?:{_MONTH}) \d{{1,2}}(?:st|nd|rd|th)?(?:, \d{{4}})?"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? (?:{_MONTH})(?:,? \d{{4}})?"
)
KIND_FORMS = {
    "clock": _CLOCK,
    "date": _DATE,
    "word": re.compile(rf"\b(?:{_DAY})\b"),
    "ratio": re.compile(r"\d+(?:\.\d+)? ?(?::|\bto\b) ?\d+(?:\.\d+)?"),
}


def choose_named(sentence: str, kind: str, asked: Asked) -> str | None:
    """The one time, date, weekday or name of a sentence that answers its question; None for none and for several.

    >>> from mtjax.data.answers.asked import read_question
    >>> asked = read_question("The train leaves at 9:45 AM. When does it arrive?")
    >>> choose_named("The train that leaves at 9:45 AM arrives at 1:15 PM.", "clock", asked)
    '1:15 PM'
    """
    text = plain(sentence)
    if OPEN.search(text) or DENIES.search(text):
        return None
    if kind == "word" and _WHO.match(asked.sentence):
        wanted = asked.words - {stem(name) for name in asked.names | asked.others}
        if "first" in wanted and _WON.search(text):
            wanted, text = frozenset({"won"}), _WON.sub("won", text)
        parts = [part for part in BREAK.split(text) if wanted <= stems(part) and re.search("[A-Z]", part)] or [text]
        named = {name for part in parts for name in re.findall(r"[A-Z][a-z]+", part)} & (asked.names | asked.others)
        return named.pop() if len(named) == 1 and wanted and wanted <= stems(text) else None
    form = KIND_FORMS[kind]
    given = [read(one[0]) for one in form.finditer(asked.question)]
    found = {one[0] for one in form.finditer(text)}
    found = {one for one in found if not any(compare(other, read(one)) for other in given)}
    said, own = _ORDER.search(text), _ORDER.search(asked.sentence)
    if kind == "ratio" and said and own and stem(said[1]) != stem(own[1]):
        return None
    if kind == "ratio" and (last := re.search(rf"\b(?:to|is|of|=) ({form.pattern})\W*$", text)):
        return last[1]
    return found.pop() if len(found) == 1 else None


def alternative(sentence: str, asked: Asked) -> frozenset[str]:
    """The words of the one alternative of a question (`Which is heavier, A or B?`) that a sentence affirms."""
    found = re.search(r"\b(?:which|who|what)\b([^,]*), ([^,]+) or ([^,]+)\?", asked.sentence, re.IGNORECASE)
    if not found or OPEN.search(sentence) or DENIES.search(sentence) or re.search(r"\bthan\b", sentence):
        return frozenset()
    said, (asks, *parts) = stems(sentence), map(stems, found.groups())
    named = [part for part, other in zip(parts, reversed(parts), strict=True) if said & part - other]
    return named[0] if len(named) == 1 and asks and asks <= said else frozenset()


_WORDS = re.compile(r"[^\W\d_]{3,}(?: [^\W\d_]+){0,3}")


def option_by_words(sentences: Sequence[str], texts: Sequence[str], asked: Asked) -> str | None:
    """The letter of the one option whose words a reply has, where it says of it most of what is asked.

    >>> from mtjax.data.answers.asked import read_question
    >>> asked = read_question("What helps people to see?")
    >>> option_by_words(["People use a lamp to see at night."], ["pen", "lamp"], asked)
    'B'
    """
    if len(sentences) > 3 or not all(map(_WORDS.fullmatch, texts)):
        return None
    named = [{n for n, text in enumerate(texts) if stems(text) <= stems(one)} for one in (*sentences, asked.question)]
    places, first = set().union(*named), next((n for n, one in enumerate(named) if one), len(sentences))
    if len(places) != 1 or first >= len(sentences) or named[-1]:
        return None
    said = REASONS.split(plain(sentences[first]))[0]
    pronoun = re.match(r"\W*(?:it|that|this|they)(?:'s| is| are) ", said, re.IGNORECASE)
    if pronoun and stems(said[pronoun.end() :]) == stems(texts[min(places)]):
        return LETTERS[min(places)]
    shared = stems(said) & asked.words
    if OPEN.search(said) or DENIES.search(said) or asked.denied or 2 * len(shared) < len(asked.words) or not shared:
        return None
    return LETTERS[places.pop()]


NAMES = r"[A-Z][a-z]+(?:, [A-Z][a-z]+)*,? and [A-Z][a-z]+"


def names_all(sentence: str, truth: str, asked: Asked) -> bool:
    """Whether a sentence about what is asked has the names of the gold answer, in any order, and no others."""
    wanted = set(re.findall("[A-Z][a-z]+", truth))
    named = set(re.findall("[A-Z][a-z]+", sentence)) & {*wanted, *asked.names, *asked.others}
    open_ = OPEN.search(sentence) or DENIES.search(sentence)
    return named == wanted and bool(stems(sentence) & asked.words) and not open_


_NAME = r"[A-Z][^\W\d_]+(?: [A-Z][^\W\d_]+)*"
_LAST = re.compile(rf"\b(?:by|is|was) ({_NAME})\W*$")
_FIRST = re.compile(rf"^({_NAME}) (?:is|was|wrote|[a-z]+ed)\b")


def is_person(sentence: str, truth: str, asked: Asked) -> bool | None:
    """Whether the person whom a sentence names, first or last, is the gold one; None if it names none by a full name.

    The surname of the gold name alone counts too.

    >>> from mtjax.data.answers.asked import read_question
    >>> is_person("It was written by Mary Shelley.", "Jane Austen", read_question("Who wrote Emma?"))
    False
    """
    asks = re.match(r"who\b", asked.sentence, re.IGNORECASE) and " " in truth and re.fullmatch(_NAME, truth)
    if not asks or OPEN.search(sentence) or DENIES.search(sentence):
        return None
    found = _LAST.search(sentence) or _FIRST.search(sentence)
    name = found[1] if found else ""
    if not name or name in asked.question:
        return None
    surname = truth.rpartition(" ")[2]
    if name in (truth, surname):
        return True
    return False if " " in name and not name.endswith(surname) else None


_WHAT = re.compile(r"What (is|was) (the [^?,]+)\?$")


def called(sentences: Sequence[str], asked: Asked) -> str | None:
    """The name that a one-sentence reply gives to what is asked for: `The capital of France is Paris.`"""
    if asked.sentence.endswith("called?") and len(sentences) == 1:
        named = re.search(r"\b(?:called|named|known as) (?:an? )?[\"']?([A-Za-z]+)[\"']?\W*$", plain(sentences[0]))
        return named[1] if named and not OPEN.search(sentences[0]) and not DENIES.search(sentences[0]) else None
    what = _WHAT.match(asked.sentence)
    said = what and re.fullmatch(rf"(?i:{re.escape(what[2])}) {what[1]} ([A-Z][a-z]+)\W*", plain(sentences[0]))
    return said[1] if said and len(sentences) == 1 else None


_WON = re.compile(r"\b(?:won|wins|winner is|winner was|winner)\b")
_WHO = re.compile(r"(?:who|which (?:one|person|of them|child|student|friend|runner|girl|boy))\b", re.IGNORECASE)
_ORDER = re.compile(r"\b(?:ratio of|number of) (?:the )?(?:number of )?([a-z]+)(?: [a-z]+)? to\b", re.IGNORECASE)


def letter(sentences: Sequence[str], texts: Sequence[str]) -> str | None:
    """The letter that the last sentence with letters of options affirms; None for several, or with another's text."""
    for sentence in sentences:
        text = _NOT_THAT.sub("", sentence)
        found = {next(filter(None, one.groups())) for one in _LETTER.finditer(text)}
        if not found or OPEN.search(text) or DENIES.search(text):
            continue
        others = [one for one in texts if any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", each) for each in sentences)]
        if len(others) > 1 and (aside := _IN_PASSING.search(text)) and not _LEADS_TO.search(text[: aside.start()]):
            return None  # Venus (A) comes second
        place = ord(found.pop()) - ord("A")
        said = [n for n, one in enumerate(texts) if re.search(rf"(?<!\w){re.escape(one)}(?!\w|[.,]\d)", text)]
        return chr(ord("A") + place) if not found and place < len(texts) and (place in said or not said) else None
    return None


_IN_PASSING = re.compile(r"\w \([A-J]\) (?=[a-z])")
_LEADS_TO = re.compile(r"\b(?:so|thus|therefore|hence|answer|choose|correct|is|are|equals)\b|=", re.IGNORECASE)
_NOT_THAT = re.compile(r",? (?:and )?not (?:[Oo]ption |[Cc]hoice )?\(?[A-J]\b\)?")
_LETTER = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is)?(?: therefore| thus)? \(?([A-J])\b|\(([A-J])\)"
    r"|\b(?:[Tt]hat(?:'s| is)|[Ii]t(?:'s| is)) \(?([A-J])\)?(?=\W*$)|(?:[-→]|=>) \(?([A-J])\)?(?=\W*$)"
)
