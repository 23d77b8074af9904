"""Where a reply gives its answer: the last one that it states, or what it ends in."""

import functools
import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers.clauses import emphasised, main_clauses, numerals
from mtjax.data.answers.conclusions import THEREFORE, concluded
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.equations import Reading
from mtjax.data.answers.letters import marked_option
from mtjax.data.answers.normal import plain
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import split_sentences
from mtjax.data.answers.statements import HEDGED, INSTEAD, cleaned, goes_on, statements, taken_back_at


class Found(NamedTuple):
    """The answer of a reply."""

    text: str  # the answer alone, as the reply writes it
    reading: Reading  # what it may be
    stated: bool  # the reply says that this is its answer; else it is only where the reply ends
    rest: str  # what follows it
    closed: bool  # it cannot go on where the reply was cut
    earlier: tuple[tuple[str, str], ...] = ()  # answers that were stated before, each with what follows up to the last


_CONCLUDES = re.compile(
    r"\b(?:so|thus|therefore|hence|it must be|totals?|altogether|finally|overall|in all|now|output|that makes|asked"
    r"|wanted|remain\w*|sum|notation|result|gives|get|equals|final|left|"
    r"consequently|answer|solution)\b|=|[→⇒⟹➜]|it(?:'s| is) [-$]?\d[\d.,]*\W*$",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=4096)
def find(reply: str, choice: bool = False) -> Found | None:
    """The answer of a reply: the last one that it states, or else what it ends in; None without either.

    An answer that is taken back gives way to what the reply ends in, if that is a value.
    """
    text = _SQUARE.sub("", cleaned(reply, choice))
    if choice and (marked := marked_option(text)):
        return Found(marked, read(marked), True, "", True)
    if "✅" in text and "❌" in text:
        text = "\n".join(line for line in text.splitlines() if "❌" not in line)
    found = statements(text, choice)
    if found:
        last = found[-1]
        part, reading, rest = cut(last.text)
        if not reading.values and (said := cut(concluded(last.text)))[1].values.keys() - {"sequence", "word"}:
            part, reading, rest = said
        if not reading.values:
            first, _, rest = last.text.partition(". ")
            part = tidy(first)
        behind = text[last.end :]
        closed = last.boxed or bool(rest.strip(" *") or behind.strip(" *$")) or behind.startswith("\n")
        earlier = tuple((one.text, text[one.start : last.start]) for one in found[:-1] if one.start < last.start)
        remark = f"{rest} {behind}"
        again = _ending(remark[back:]) if (back := taken_back_at(remark)) is not None else None
        if again and again.stated and (number := again.reading.values.get("number")):
            same = compare(reading, again.reading)  # else it need not be the last word, but may be right
            if not same and HEDGED.search(remark[back:]):
                return Found(part, reading, True, remark, closed, earlier)
            plainly = _IT_IS.search(again.text)
            number = number._replace(approximate=number.approximate or not (same or plainly))
            return again._replace(reading=again.reading._replace(values={"number": number}))
        return Found(part, reading, True, remark, closed, earlier)
    if (head := _HEAD.match(reply.strip())) and not _NOT_ALONE.search(head["rest"]):
        reading = read(head["value"])
        if reading.values.keys() - {"sequence", "word"}:
            return Found(head["value"], reading, True, head["rest"], True)
    ending = _ending(text, emphasised(reply), choice)
    return ending._replace(closed=True) if ending and text.endswith("\n") and goes_on(reply) else ending


_IT_IS = re.compile(r"(?:^|\W)(?:it(?:'s| is)|it should be|i meant)\W+[-$]?\d[\d.,]*%?(?: [a-z]+)?\W*$", re.IGNORECASE)
_FIRST_LINE = re.compile(r"\W*(?:\(?[A-J]\)?\.?|yes|no|true|false)\W*", re.IGNORECASE)
"""An answer in a line of its own, which reasons follow."""
_VALUE_LINE = re.compile(r"\W*[0-9][0-9.,/]*(?:%| [a-z]+)?\W*")
_OPTION_LINE = re.compile(r"\W*[A-J][).:] \S")
_OTHER_OPTION = re.compile(
    r"\b(?:option|answer|choice|so|thus|hence|therefore|but|however|wait)\b|\([A-J]\)|(?:^|\s)[A-J][).:]\s",
    re.IGNORECASE,
)
_EXPLAINS = re.compile(
    r"\W*(?:explanation|reason(?:ing)?|because|justification|(?:double-?)?check(?:ing)?(?=:)|verif(?:y|ying"
    r"|ication)(?=:)|here's (?:how|why)|this is because|(?:you|we|i) (?:can )?(?:get|got|find|found) (?:this|that|it)"
    r" (?:from|by))\b",
    re.IGNORECASE,
)
_HEAD = re.compile(r"\*\*(?P<value>[^*\n:]*\d[^*\n:]*)\*\*\s*\n(?P<rest>.*)", re.DOTALL)  # a first line in bold
_NOT_ALONE = re.compile(
    r"\*\*|\b(?:so|thus|hence|therefore|answer|step|total|wait|but|however|actually)\b|\n[^\n]*\n", re.IGNORECASE
)
_ASIDE = re.compile(r"\([^()]*\)[.!]?")
_FIRST_STEP = re.compile(r"\W*(?:step (?:1|one)\b|first(?:ly)?,|given:)", re.IGNORECASE)
_LABELLED = re.compile(r"Q?\d{1,2}[.):]\s+([-$]?\d[\d.,]*(?: [a-z]+)?)")  # Q1. 24
_BULLET = re.compile(r"[-*•] ")
_REMARK = re.compile(
    r",? (?:- )?(?:because|since|or (?=[\w$£€-]*\d|about|approximately|roughly)|not|and not|and nothing|rather than"
    r"|instead of|assuming|provided)\b|, (?:the|an?)\b|,? \(|"
    r", (?:which|without)\b|: (?=[^:]*\d)|;.*\b(?:wrong|incorrect|too|would)\b",
    re.IGNORECASE,
)
_CONFIRMED = re.compile(
    r"^\W*(?:yes|yep|yeah|ok|okay|right|correct|indeed|great)\b[,.!:]+\s+(?=[-$]?\d)", re.IGNORECASE
)
_PART = re.compile(r"\(?(?:[a-e]|i{1,3}|iv|v)[.)]\s")
_SQUARE = re.compile(r"\s*\$?\\?(?:black)?square\$?\s*$|\s*[∎■□]\s*$")  # the end of a proof
_YEAR = re.compile(r"\d\b\D*[A-Za-z] (?:in|by) ((?:1[89]|20)\d\d)\W*$")  # 12 million people in 2020
_EMPTY = re.compile(r"\s*(?:\$\$|\\[\[\]]|[*#_=-]*)\s*")


def _clause(sentence: str, bold: str | None) -> tuple[str, Reading, str] | None:
    """What a sentence that is not read whole says in its main clause, or in bold; its other numbers stand beside it."""
    so = [found.end() for found in THEREFORE.finditer(sentence)][-1:]
    clauses = [bold] if bold else []
    for start in (*so, 0):
        clauses += main_clauses(sentence[start:])
    for part in clauses:
        said, reading, rest = cut(concluded(part))
        kinds = reading.values.keys() & {"number", "clock"}
        if kinds and not rest.strip(" .!"):
            values = {kind: reading.values[kind] for kind in kinds}
            if number := values.get("number"):
                others = (one for one in numerals(sentence) if one != number.value)
                values["number"] = number._replace(beside=(*number.beside, *others))
            return said, reading._replace(values=values), rest
    return None


def _computed_before(value: Fraction, sentences: list[str], lines: list[str]) -> bool:
    """Whether the sentence or line before the last one ends in a value as what it computed."""
    before = sentences[-2:-1] + lines[-2:-1] if len(sentences) > 1 else lines[-2:-1]
    return any("=" in one and numerals(one)[-1:] == (value,) for one in before)


def _derived(value: Fraction, text: str) -> bool:
    """Whether a value is the sum, difference, product or quotient of two of the last numbers of a text."""
    last = numerals(text[-600:])[-10:]
    pairs = ((p, q) for n, p in enumerate(last) for m, q in enumerate(last) if n != m)
    return any(value in (p + q, p - q, p * q, q and p / q) for p, q in pairs)


def _ending(text: str, bold: str | None = None, choice: bool = False) -> Found | None:
    """What a reply that states no answer ends in: its only sentence, its last line, or the last sentence of that."""
    lines = [line.strip() for line in text.splitlines() if not _EMPTY.fullmatch(line)]
    if not lines:
        return None
    if len(lines) > 1 and _PART.match(lines[-1]) and _PART.match(lines[-2]):
        return None  # one answer for each part of the problem
    last = re.sub(r"^\\\[\s*|\s*\\\]$", "", lines[-1])
    bullet = len(lines) > 1 and _BULLET.match(lines[-1]) and _BULLET.match(lines[-2])
    last = re.sub(r"^(?:[-*•]\s+(?=[^\W\d_])|#{1,6}\s+|\(?\d{1,2}[.)]\s+(?=[A-Z][a-z]))", "", last)
    if len(lines) == 1 and (labelled := _LABELLED.fullmatch(last)):
        last = labelled[1]
    sentences = split_sentences(last)
    sentences = sentences[:-1] if len(sentences) > 1 and _ASIDE.fullmatch(sentences[-1]) else sentences
    explained = next((n for n, one in enumerate(sentences) if n and _EXPLAINS.match(one)), None)
    if explained and (said := _ending("\n".join([*lines[:-1], " ".join(sentences[:explained])]))):
        return said._replace(rest=" ".join(sentences[explained:]), closed=True)
    if len(lines) > 1 and _FIRST_LINE.fullmatch(lines[0]) and not any(map(_FIRST_LINE.fullmatch, lines[1:])):
        first, behind = read(lines[0]), " ".join(lines[1:])
        if first.values and not re.search(
            r"\b(?:option|answer|choice|so|thus|hence|therefore)\b|\([A-J]\)", behind, re.I
        ):
            return Found(lines[0], first, True, behind, True)
    if len(lines) > 1 and choice and _OPTION_LINE.match(lines[0]) and not _OTHER_OPTION.search(" ".join(lines[1:])):
        return Found(lines[0], read(lines[0]), True, " ".join(lines[1:]), True)
    value = _VALUE_LINE.fullmatch(lines[0]) or _OPTION_LINE.match(lines[0])
    if len(lines) > 1 and value and _EXPLAINS.match(lines[1]):
        return Found(lines[0], read(lines[0]), True, " ".join(lines[1:]), True)
    if len(lines) == len(sentences) == 1 and _FIRST_STEP.match(last):
        return None
    if len(lines) == 1 and len(sentences) > 1:
        first = read(sentences[0])
        if first.values.keys() & {"truth", "word"}:
            return Found(sentences[0], first, True, " ".join(sentences[1:]), True)
    if len(lines) == len(sentences) == 1 and re.match(r"(?:yes|no)\b", last, re.I) and "truth" in read(last).values:
        return Found(last, read(last), True, "", False)
    last_sentence = _CONFIRMED.sub("", last if len(sentences) < 2 else sentences[-1])
    if instead := INSTEAD.match(last_sentence):
        last_sentence = instead["answer"]
    whole, reading, rest = cut(concluded(last_sentence))
    if not reading.values.keys() - {"sequence", "several", "word"} and (clause := _clause(last_sentence, bold)):
        whole, reading, rest = clause
    number, year = reading.values.get("number"), _YEAR.search(last_sentence)
    if number and year and number.value == int(year[1]):  # it may be the answer, but is not called wrong
        reading = reading._replace(values={**reading.values, "number": number._replace(approximate=True)})
    alone = len(sentences) < 2 and not rest.strip(" .!")
    alone = alone or len(lines) == len(sentences) == 1 and bool(reading.values and _REMARK.match(rest))
    if len(lines) > 1:  # the last line is the answer if it is a value without words in front
        bare = not re.match(r"[^\W\d_]{2,}", plain(last)) and not (bullet and last[:1] in "-*•")
        alone = alone and bare and bool(reading.values.keys() & {"number", "letter", "formula"})
    number = reading.values.get("number")
    again = number is not None and _computed_before(number.value, sentences, lines)
    truth = "truth" in reading.values and not rest.strip(" .!")
    asked = last_sentence.endswith("?")
    concludes = _CONCLUDES.search(last_sentence) or again or bold is not None and bold in whole
    if alone or reading.values and (truth or concludes and not asked):
        return Found(whole, reading, True, rest, False)
    said = next((_ending(one) for one in sentences[-2:-4:-1] if THEREFORE.match(one) and not asked), None)
    if said is None and number and not asked and _derived(number.value, text):
        said = Found(whole, reading, True, rest, False)
    if said is not None and (number := said.reading.values.get("number")):  # it may be right, but is not called wrong
        values = {"number": number._replace(approximate=True)}
        return said._replace(reading=said.reading._replace(values=values))
    return Found(whole, Reading(reading.text, {}), False, rest, False)


def tidy(answer: str) -> str:
    """An answer without the marks around it: white space, emphasis, dollars of LaTeX, a final full stop."""
    answer = answer.strip().strip("*").strip()
    inner = re.fullmatch(r"\\\((.*)\\\)|\$([^$]*)\$", answer.removesuffix("."), re.DOTALL)
    answer = (inner[1] or inner[2] or "") if inner else answer
    return answer.removesuffix(".").strip()
