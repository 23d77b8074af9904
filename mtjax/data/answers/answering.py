"""What a reply that states no answer says to its question."""

import re
from collections.abc import Sequence

from mtjax.data.answers.asked import Asked, read_question, stem, stems, values
from mtjax.data.answers.choices import CONFLICT, choose, contradicted, option_texts
from mtjax.data.answers.chosen import DENIES, LONGEST_SENTENCE, OPEN, choose_number, finishes
from mtjax.data.answers.conclusions import concluded
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.equations import Reading
from mtjax.data.answers.named import (
    KIND_FORMS,
    NAMES,
    REASONS,
    STANDS_FOR,
    alternative,
    called,
    choose_named,
    is_person,
    letter,
    names_all,
    option_by_words,
)
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
_OPPOSITES = {stem(a): stem(b) for a, b in OPPOSITES.items()}
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
            stems(REASONS.split(text[found.end() :])[0]) - {stem(one) for one in _STILL},
        )
        turned = {_OPPOSITES[word] for word in predicate if _OPPOSITES.get(word) in asked.words}
        predicate -= {_OPPOSITES[word] for word in turned}
        stands = set(re.findall("[a-z]+", text.lower())) & STANDS_FOR
        if said != asked.auxiliary or not predicate | turned or not (subject | predicate) <= asked.words:
            continue
        if not subject and not stands and not values(text[: found.start()]) & asked.given:
            continue
        if 2 * len(subject | predicate | turned) >= len(asked.words) or stands:
            return bool(found["no"] or found["cannot"]) == bool(turned)
    return None


_LAST_MATHS = re.compile(r"(?P<lead>[^$]*)\$(?P<value>[^$]+)\$\W*$")
_SEVERAL = re.compile(r"(?:\$[^$]+\$(?:,? (?:and|or) |, ))+\$[^$]+\$(?=\W*$)")
_EQUATION = re.compile(r"(?:(?![A-Za-z]{2})[^=.,;:<>])*\d(?:(?![A-Za-z]{2})[^,;:<>])*=(?:(?![A-Za-z]{2})[^,;:<>])*\W*")
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
    if not last and _EQUATION.fullmatch(text):
        return [text.rpartition("=")[2].strip(" .")]
    formulas = [last["value"], last["value"].rpartition("=")[2]] if last and not _ASIDE.search(last["lead"]) else []
    return [concluded(sentence), *formulas]


def _unbraced(formula: str) -> str:
    """A formula without spaces and braces, so that `x^2` and `x^{2}` are alike."""
    return re.sub(r"[ {}]", "", formula)


def about(sentence: str, asked: Asked) -> bool:
    """Whether a sentence has words or a formula of the question, or says something of one of its letters."""
    text = plain(sentence)
    joined = _unbraced(text)
    letters = {name for formula in asked.formulas for name in re.findall(r"(?<![a-z])[a-z](?![a-z])", formula)}
    return (
        bool(stems(text) & asked.words)
        or any(_unbraced(formula) in joined for formula in asked.formulas)
        or any(re.search(rf"(?<![a-z]){name}(?:[=<>]|\\(?:[lg]e|in)\b)", joined) for name in letters)
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
    if texts and (option := option_by_words(sentences, texts, asked)):
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
        other = any(compare(right, read(one[0])) for one in KIND_FORMS[kind].finditer(text))
        return None if equal is False and other else equal
    elif kind in ("clock", "date") and (times := list(KIND_FORMS[kind].finditer(plain(last)))):
        return compare(right, read(times[-1][0])) or None
    if (person := is_person(last, right.text, asked)) is not None:
        return person
    if re.fullmatch(NAMES, right.text):
        return names_all(last, right.text, asked) or None
    if "word" in kinds and (name := called(sentences, asked)) is not None:
        equal = compare(right, read(name))
        certain = re.fullmatch("[A-Z][a-z]+", right.text) or asked.sentence.endswith("called?")
        return equal if certain else equal or None
    if "word" in kinds and (words_of := alternative(concluded(last), asked)):
        wanted = stems(right.text)
        return wanted <= words_of if wanted <= asked.words else None
    for said in concluding(last):
        _, reading, rest = cut(said)
        shared = reading.values.keys() & kinds - {"number", "word", "sequence", "truth", "letter"}
        if shared and not rest.strip(" .!") and (equal := compare(right, reading)) is not None:
            sides = (side for one in _SIDES.findall(text)[-40:] for side in one.split("="))
            others = [side for side in sides if _unbraced(side) not in map(_unbraced, asked.formulas)]
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
