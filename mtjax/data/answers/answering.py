"""What a reply that states no answer says to its question."""

import re
from collections.abc import Sequence

from mtjax.data.answers.asked import Asked, read_question, stem, stems, values
from mtjax.data.answers.calendar import DAYS, MONTHS
from mtjax.data.answers.choices import CONFLICT, LETTERS, choose, contradicted, option_texts
from mtjax.data.answers.chosen import BREAK, DENIES, LONGEST_SENTENCE, OPEN, choose_number, finishes
from mtjax.data.answers.conclusions import concluded
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.equations import Reading
from mtjax.data.answers.normal import listed, plain
from mtjax.data.answers.numbers import Number
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import split_sentences
from mtjax.data.answers.same import same
from mtjax.data.answers.words import OPPOSITES

_AUXILIARY = (
    r"(?P<aux>is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|must)(?P<no> not| never|n't)?\b"
    r"|(?P<cannot>cannot|can't)\b"
)
_REASONS = re.compile(r"[,;:]|\b(?:because|since|as)\b", re.IGNORECASE)
_OPPOSITES = {stem(a): stem(b) for a, b in OPPOSITES.items()}
_STANDS_FOR = frozenset(listed("one it them they he she there so such this that these"))
_LEADS = re.compile(
    r"(?:^|\b)(?:so|therefore|thus|hence|in conclusion|overall|this means(?: that)?|no|yes)\b,? ?", re.I
)
_LIMITS = re.compile(
    r"\b(?:if|unless|whether|maybe|perhaps|possibly|probably|might|may|or|only|but|although|though|however|except|once"
    r"|depend\w*|suppos\w+|likely|almost|nearly|hardly|barely|some|sometimes|few|always|most|nor)\b|\?",
    re.IGNORECASE,
)
_STILL = frozenset(listed("also actually indeed really fact ever definitely certainly clearly simply therefore easily"))


def restated(sentence: str, asked: Asked) -> bool | None:
    """Whether a sentence affirms what a question of yes or no asks, in its words; None if it says anything else.

    >>> restated("So a whale could not fit inside one.", read_question("Could a whale fit inside a pool?"))
    False
    """
    if first := re.match(r"\W*(?:(yes|true)|no(?: way)?|false)(?::| [-–—]+) ", sentence, re.IGNORECASE):
        return bool(first[1])
    text = _LEADS.split(plain(sentence))[-1]
    limits = {word.lower() for word in _LIMITS.findall(text)}
    if not asked.auxiliary or asked.denied or limits - set(asked.sentence.lower().split()):
        return None
    for found in re.finditer(_AUXILIARY, text, re.IGNORECASE):
        said = "can" if found["cannot"] else found["aux"].lower()
        subject, predicate = (
            stems(text[: found.start()]),
            stems(_REASONS.split(text[found.end() :])[0]) - {stem(one) for one in _STILL},
        )
        turned = {_OPPOSITES[word] for word in predicate if _OPPOSITES.get(word) in asked.words}
        predicate -= {_OPPOSITES[word] for word in turned}
        stands = set(re.findall("[a-z]+", text.lower())) & _STANDS_FOR
        if said != asked.auxiliary or not predicate | turned or not (subject | predicate) <= asked.words:
            continue
        if not subject and not stands and not values(text[: found.start()]) & asked.given:
            continue
        if 2 * len(subject | predicate | turned) >= len(asked.words) or stands:
            return bool(found["no"] or found["cannot"]) == bool(turned)
    return None


_MONTH = "|".join(name.title() for name in MONTHS)
_DAY = "|".join(f"(?i:{name})" for name in DAYS)
_CLOCK = re.compile(
    r"\b\d{1,2}(?::\d\d)? ?[ap]\.?m\b\.?|\b\d{1,2}:\d\d(?: (?:in the )?(?:morning|afternoon|evening))?"
    r"|\b(?:noon|midnight)\b",
    re.IGNORECASE,
)
_DATE = re.compile(rf"\b(?:{_MONTH}) \d{{1,2}}(?:st|nd|rd|th)?(?:, \d{{4}})?|\b\d{{1,2}} (?:{_MONTH})(?: \d{{4}})?")
_NAMED = {
    "clock": _CLOCK,
    "date": _DATE,
    "word": re.compile(rf"\b(?:{_DAY})\b"),
    "ratio": re.compile(r"\d+(?:\.\d+)? ?(?::|\bto\b) ?\d+(?:\.\d+)?"),
}


def choose_named(sentence: str, kind: str, asked: Asked) -> str | None:
    """The one time, date, weekday or name of a sentence that answers its question; None for none and for several.

    >>> asked = read_question("The train leaves at 9:45 AM. When does it arrive?")
    >>> choose_named("The train that leaves at 9:45 AM arrives at 1:15 PM.", "clock", asked)
    '1:15 PM'
    """
    text = plain(sentence)
    if OPEN.search(text) or DENIES.search(text):
        return None
    if kind == "word" and _WHO.match(asked.sentence):
        wanted = asked.words - {stem(name) for name in asked.names | asked.others}
        parts = [part for part in BREAK.split(text) if wanted <= stems(part) and re.search("[A-Z]", part)] or [text]
        named = {name for part in parts for name in re.findall(r"[A-Z][a-z]+", part)} & (asked.names | asked.others)
        return named.pop() if len(named) == 1 and wanted and wanted <= stems(text) else None
    form = _NAMED[kind]
    given = [read(one[0]) for one in form.finditer(asked.question)]
    found = {one[0] for one in form.finditer(text)}
    found = {one for one in found if not any(compare(other, read(one)) for other in given)}
    said, own = _ORDER.search(text), _ORDER.search(asked.sentence)
    if kind == "ratio" and said and own and stem(said[1]) != stem(own[1]):
        return None
    if kind == "ratio" and (last := re.search(rf"\b(?:to|is|of|=) ({form.pattern})\W*$", text)):
        return last[1]
    return found.pop() if len(found) == 1 else None


def _alternative(sentence: str, asked: Asked) -> frozenset[str]:
    """The words of the one alternative of a question (`Which is heavier, A or B?`) that a sentence affirms."""
    found = re.search(r"\b(?:which|who|what)\b([^,]*), ([^,]+) or ([^,]+)\?", asked.sentence, re.IGNORECASE)
    if not found or OPEN.search(sentence) or DENIES.search(sentence) or re.search(r"\bthan\b", sentence):
        return frozenset()
    said, (asks, *parts) = stems(sentence), map(stems, found.groups())
    named = [part for part, other in zip(parts, reversed(parts), strict=True) if said & part - other]
    return named[0] if len(named) == 1 and asks and asks <= said else frozenset()


_WORDS = re.compile(r"[^\W\d_]{3,}(?: [^\W\d_]+){0,3}")


def _option(sentences: Sequence[str], texts: Sequence[str], asked: Asked) -> str | None:
    """The letter of the one option whose words a reply has, where it says of it most of what is asked.

    >>> _option(["People use a lamp to see at night."], ["pen", "lamp"], read_question("What helps people to see?"))
    'B'
    """
    if len(sentences) > 3 or not all(map(_WORDS.fullmatch, texts)):
        return None
    named = [{n for n, text in enumerate(texts) if stems(text) <= stems(one)} for one in (*sentences, asked.question)]
    places, first = set().union(*named), next((n for n, one in enumerate(named) if one), len(sentences))
    if len(places) != 1 or first >= len(sentences) or named[-1]:
        return None
    said = _REASONS.split(plain(sentences[first]))[0]
    shared = stems(said) & asked.words
    if OPEN.search(said) or DENIES.search(said) or asked.denied or 2 * len(shared) < len(asked.words) or not shared:
        return None
    return LETTERS[places.pop()]


_NAMES = r"[A-Z][a-z]+(?:, [A-Z][a-z]+)*,? and [A-Z][a-z]+"


def _names_all(sentence: str, truth: str, asked: Asked) -> bool:
    """Whether a sentence about what is asked has the names of the gold answer, in any order, and no others."""
    wanted = set(re.findall("[A-Z][a-z]+", truth))
    named = set(re.findall("[A-Z][a-z]+", sentence)) & {*wanted, *asked.names, *asked.others}
    open_ = OPEN.search(sentence) or DENIES.search(sentence)
    return named == wanted and bool(stems(sentence) & asked.words) and not open_


_WHAT = re.compile(r"What (is|was) (the [^?,]+)\?$")


def _called(sentences: Sequence[str], asked: Asked) -> str | None:
    """The name that a one-sentence reply gives to what is asked for: `The capital of France is Paris.`"""
    what = _WHAT.match(asked.sentence)
    said = what and re.fullmatch(rf"(?i:{re.escape(what[2])}) {what[1]} ([A-Z][a-z]+)\W*", plain(sentences[0]))
    return said[1] if said and len(sentences) == 1 else None


_WHO = re.compile(r"(?:who|which (?:one|person|of them|child|student|friend|runner|girl|boy))\b", re.IGNORECASE)
_ORDER = re.compile(r"\b(?:ratio of|number of) (?:the )?(?:number of )?([a-z]+)(?: [a-z]+)? to\b", re.IGNORECASE)
_LAST_MATHS = re.compile(r"(?P<lead>[^$]*)\$(?P<value>[^$]+)\$\W*$")
_SEVERAL = re.compile(r"(?:\$[^$]+\$(?:,? (?:and|or) |, ))+\$[^$]+\$(?=\W*$)")
_ASIDE = re.compile(r"\b(?:for|where|when|if|since|because|as|by|of|from)\W*(?:all|every|any)?\W*$", re.IGNORECASE)


def concluding(sentence: str) -> list[str]:
    """What a sentence may say at its end: what it concludes, then its last formula, then the last side of that.

    >>> concluding("It factors into $(x+1)(x+2)$.")[1]
    '(x+1)(x+2)'
    """
    text = plain(sentence)
    if OPEN.search(text) or DENIES.search(text.replace("never negative", "")):
        return []
    dollars = re.sub(r"\\[()\[\]]|\$\$", "$", sentence)
    if several := _SEVERAL.search(dollars):
        return [several[0]]
    last = _LAST_MATHS.search(dollars)
    formulas = [last["value"], last["value"].rpartition("=")[2]] if last and not _ASIDE.search(last["lead"]) else []
    return [concluded(sentence), *formulas]


def about(sentence: str, asked: Asked) -> bool:
    """Whether a sentence has words or a formula of the question, or says something of one of its letters."""
    text = plain(sentence)
    joined = text.replace(" ", "")
    letters = {name for formula in asked.formulas for name in re.findall(r"(?<![a-z])[a-z](?![a-z])", formula)}
    return (
        bool(stems(text) & asked.words)
        or any(formula in joined for formula in asked.formulas)
        or any(re.search(rf"(?<![a-z]){name}(?:[=<>]|\\(?:[lg]e|in)\b)", joined) for name in letters)
    )


def letter(sentences: Sequence[str], texts: Sequence[str]) -> str | None:
    """The letter that the last sentence with letters of options affirms; None for several, or with another's text."""
    for sentence in sentences:
        text = _NOT_THAT.sub("", sentence)
        found = {next(filter(None, one.groups())) for one in _LETTER.finditer(text)}
        if not found or OPEN.search(text) or DENIES.search(text):
            continue
        place = ord(found.pop()) - ord("A")
        said = [n for n, one in enumerate(texts) if re.search(rf"(?<!\w){re.escape(one)}(?!\w|[.,]\d)", text)]
        return chr(ord("A") + place) if not found and place < len(texts) and (place in said or not said) else None
    return None


_NOT_THAT = re.compile(r",? (?:and )?not (?:[Oo]ption |[Cc]hoice )?\(?[A-J]\b\)?")
_LETTER = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)(?: is)?(?: therefore| thus)? \(?([A-J])\b|\(([A-J])\)"
    r"|\b(?:[Tt]hat(?:'s| is)|[Ii]t(?:'s| is)) \(?([A-J])\)?(?=\W*$)|(?:[-→]|=>) \(?([A-J])\)?(?=\W*$)"
)
_SIDES = re.compile(r"\$([^$]+)\$")


def by_question(text: str, truth: str, options: Sequence[str], question: str) -> bool | None:
    """Whether a cleaned reply without a stated answer ends in the gold one; None if its question does not tell.

    Different is only what the last sentence says of the very thing that is asked, if no other sentence says the gold
    value of it as clearly.
    """
    asked = read_question(question)
    sentences = [one for line in text.splitlines() for one in split_sentences(line.strip()) if re.search(r"\w", one)]
    if not asked.sentence or not sentences or len(sentences[-1]) > LONGEST_SENTENCE:
        return None
    texts, last, earlier = option_texts(tuple(options)), sentences[-1], sentences[:-1]
    place = choose(truth, texts) if texts else None
    right = cut(truth if place in (None, CONFLICT) else texts[place])[1]
    kinds = right.values.keys()
    if texts and contradicted(text, texts):
        return None
    if texts and (named := letter(sentences[:-4:-1], texts)):
        return same(named, read(named), truth, options)
    if texts and (option := _option(sentences, texts, asked)):
        return same(option, read(option), truth, options)
    if "truth" in kinds:
        affirmed = restated(last, asked)
        return None if affirmed is None else affirmed == right.values["truth"].positive
    kind = next((kind for kind in ("date", "clock", "ratio") if kind in kinds), "word" if "word" in kinds else "")
    if "number" in kinds and kind not in ("date", "clock"):
        if (number := _number(last, earlier, right, asked)) is not None:
            return number
    elif kind and (said := choose_named(last, kind, asked)):
        equal = compare(right, read(said))
        other = any(compare(right, read(one[0])) for one in _NAMED[kind].finditer(text))
        return None if equal is False and other else equal
    elif kind in ("clock", "date") and (times := list(_NAMED[kind].finditer(plain(last)))):
        return compare(right, read(times[-1][0])) or None
    if re.fullmatch(_NAMES, right.text):
        return _names_all(last, right.text, asked) or None
    if "word" in kinds and (called := _called(sentences, asked)) is not None:
        equal = compare(right, read(called))
        return equal if re.fullmatch("[A-Z][a-z]+", right.text) else equal or None
    if "word" in kinds and (alternative := _alternative(concluded(last), asked)):
        wanted = stems(right.text)
        return wanted <= alternative if wanted <= asked.words else None
    for said in concluding(last):
        _, reading, rest = cut(said)
        shared = reading.values.keys() & kinds - {"number", "word", "sequence", "truth", "letter"}
        if shared and not rest.strip(" .!") and (equal := compare(right, reading)) is not None:
            sides = (side for one in _SIDES.findall(text)[-40:] for side in one.split("="))
            others = [side for side in sides if side.replace(" ", "") not in asked.formulas]
            sure = about(last, asked) and not any(compare(right, read(side)) for side in others)
            return True if equal else False if sure else None
    return None


def _number(last: str, earlier: list[str], right: Reading, asked: Asked) -> bool | None:
    """Whether the number of a last sentence that answers the question is the gold one; see `by_question`."""
    chosen = choose_number(last, "\n".join(earlier), asked)
    if chosen is None and earlier and not (OPEN.search(last) or DENIES.search(last) or _LIMITS.search(last)):
        chosen = choose_number(earlier[-1], "\n".join(earlier[:-1]), asked)
        read_again = Reading(chosen.text, {"number": chosen.number}) if chosen and chosen.certain else None
        return read_again and same(read_again.text, read_again, right.text, (), asked.question) or None
    if chosen is None:
        return None

    def equal(number: Number) -> bool | None:
        return same(chosen.text, Reading(chosen.text, {"number": number}), right.text, (), asked.question)

    if (verdict := equal(chosen.number)) is not False:
        return verdict
    before = [one for sentence in earlier[-40:] if (one := choose_number(sentence, "", asked))]
    absent = right.values["number"].value not in values("\n".join((*earlier, last)))
    absent = absent or chosen.said[0] >= 2 and not any(equal(one.number) and one.said >= chosen.said for one in before)
    sure = chosen.certain or absent and not any(equal(one) for one in chosen.others)
    return False if sure and finishes(last, asked) and not chosen.rough else None
