"""Where a reply gives its answer: the last one that it states, or what it ends in."""

import functools
import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers.clauses import emphasised, main_clauses, numerals
from mtjax.data.answers.equations import Reading
from mtjax.data.answers.normal import plain
from mtjax.data.answers.numbers import LONGEST
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import beginnings, split_sentences
from mtjax.data.answers.statements import DENIED_BEHIND, INSTEAD, cleaned, statements


class Found(NamedTuple):
    """The answer of a reply."""

    text: str  # the answer alone, as the reply writes it
    reading: Reading  # what it may be
    stated: bool  # the reply says that this is its answer; else it is only where the reply ends
    rest: str  # what follows it
    closed: bool  # it cannot go on where the reply was cut
    earlier: tuple[tuple[str, str], ...] = ()  # answers that were stated before, each with what follows up to the last


_CONCLUDES = re.compile(
    r"\b(?:so|thus|therefore|hence|totals?|altogether|finally|overall|in all|now|output|that makes|asked|wanted"
    r"|remain\w*|sum|result|gives|get|equals|final|left|"
    r"consequently|answer|solution)\b|=|[→⇒⟹➜]|it(?:'s| is) [-$]?\d[\d.,]*\W*$",
    re.IGNORECASE,
)


_SAID_AGAIN = re.compile(
    r",? (?:which|that) (?:is|equals|simplifies to|reduces to|"
    r"makes|gives|means|leaves|comes (?:out )?to)(?: equal to)? ([^.\n]*\d[^.\n]*)"
)


_MEANT = re.compile(r",? (?:meaning|giving|making|leaving|so)(?: that)? ([^.\n]*\d[^.\n]*)")


_SUBORDINATE = re.compile(r"\W*(?:since|because|if|when|as|although|while|given)\b", re.IGNORECASE)
_BY_EQUATION = re.compile(r",? ?(?:because|since)\b[^=]*=", re.IGNORECASE)
_BREAKDOWN = re.compile(r":\s+\S.*")


def _adds_up(reading: Reading, pieces: str) -> bool:
    """Whether the numbers of a text are the parts of a value: `2 blue and 1 white` of 3."""
    number = reading.values.get("number")
    found = re.findall(r"(?<![\w.,/])[0-9]+(?:\.[0-9]+)?(?![\w/%]|[.,][0-9])", pieces)
    if number is None or len(found) < 2 or any(len(one) > LONGEST for one in found):
        return False
    return sum(map(Fraction, found)) == number.value


def cut(text: str) -> tuple[str, Reading, str]:
    """The longest beginning of a text that is a value, its reading, and the rest; the whole text if none is one."""
    first: tuple[str, Reading, str] | None = None
    for part, bracket in beginnings(text):
        reading = read(part)
        first = first or (part, reading, "")
        if part != text and _SUBORDINATE.match(part):
            continue
        if reading.values.keys() - {"sequence"}:
            if (broken := _BREAKDOWN.match(text[len(part) :])) and not _adds_up(reading, broken[0]):
                break
            behind = text[len(part) :].lstrip()
            if DENIED_BEHIND.match(re.sub(r"^[(\[][^()\[\]]*[)\]]", "", behind)) and not behind.startswith("or"):
                break  # 20 (D) is wrong
            if (
                behind[:1] == ";"
                and not re.search(r"\b(?:wrong|incorrect|too|would)\b", behind)
                and "number" in reading.values.keys() & read(behind[1:].strip()).values.keys()
            ):
                break  # 18; 19
            if (
                _BY_EQUATION.match(behind)
                and (own := reading.values.get("number"))
                and own.value not in numerals(behind)
            ):
                break  # 1600 because 800 + 2400 = 3200
            inside = read(bracket).values.get("number") if bracket else None
            if inside and compare(reading, read(bracket)) is False and "number" in reading.values:
                break
            if bracket and re.search(r"\b(?:rounded|nearest)\b", bracket) and "number" in reading.values:
                number = reading.values["number"]._replace(approximate=True)
                reading = reading._replace(values={**reading.values, "number": number})
            meant = _MEANT.match(text[len(part) :])
            if meant and compare(reading, read(meant[1])) is not True and "number" in reading.values:
                break
            said_again = _SAID_AGAIN.match(text[len(part) :])
            if said_again and compare(reading, read(said_again[1])) is False:
                break
            return part, reading, text[len(part) :]
    assert first is not None
    return first


@functools.lru_cache(maxsize=4096)
def find(reply: str, choice: bool = False) -> Found | None:
    """The answer of a reply: the last one that it states, or else what it ends in; None without either."""
    text = _SQUARE.sub("", cleaned(reply))
    found = statements(text, choice)
    if found:
        last = found[-1]
        part, reading, rest = cut(last.text)
        if not reading.values and (concluded := cut(_concluded(last.text)))[1].values.keys() - {"sequence", "word"}:
            part, reading, rest = concluded
        if not reading.values:
            first, _, rest = last.text.partition(". ")
            part = tidy(first)
        behind = text[last.end :]
        closed = last.boxed or bool(rest.strip(" *") or behind.strip(" *$")) or behind.startswith("\n")
        earlier = tuple((one.text, text[one.start : last.start]) for one in found[:-1] if one.start < last.start)
        return Found(part, reading, True, f"{rest} {behind}", closed, earlier)
    return _ending(text, emphasised(reply))


_THEREFORE = re.compile(
    r"(?:^|[,;:] +(?:and )?)(?:(?:so|thus|hence|therefore|then|finally|overall|altogether|consequently|"
    r"in total|in all|in the end|in conclusion|in summary|in short|to conclude|all things considered|all told"
    r"|adding everything up|as a result|the solutions?(?: set)? (?:is|are))\b(?! (?:far|that|many|much)\b),? *)+"
    r"(?=\S)",
    re.IGNORECASE,
)


_GIVES = re.compile(
    r"(?:since|because|as|given that)\b[^,]*\d[^,]*,\s+|[^,]*,\s+(?=we (?:get|have|find|obtain)\b)"
    r"|[^=,]*\b(?:gives|yields)(?: us)?\s+(?=[A-Za-z] ?=)|[^=,]*\d[^=,]*"
    r"\b(?:plus|minus|times|by|take away)\b[^=,]*\b(?:gives|leaves|makes|equals|yields|is|results in|comes to)"
    r"(?: (?:us|him|her|them|you|it))?(?: a total of)?\s+(?=[$\d])"
    r"|.*,? (?:for|making|giving)(?: (?:us|him|her|them|you))? a (?:grand )?total of\s+"
    r"|.*, which (?:is|equals|gives|makes|means) (?=[-$\d])|.*\d.*, leaving(?: (?:him|her|them|us|it|only|just"
    r"|with)){0,3}\s+(?=[$\d])"
    r"|\W*[A-Z][a-z]+ing\b[^=]*\d[^=]*\b(?:gives|yields|results in|leads to|produces|makes|leaves)(?: us)?\s+"
    r"(?=[-$\d])"
    r"|.*\d.*\b(?:to|and|we|you) (?:get|obtain|find)\s+(?=[-$\d])"
    r"|[^=,]*\d[^=,]*\b(?:make|makes|give|come to)\s+(?=[-$\d])"
    r"|\W*(?:no doubt|without (?:a )?doubt|clearly|obviously|for sure)[:,]\s+(?=\S)"
    r"|[-\d.,/]+ ?(?:%|percent) of [^\s=]+(?: [a-z]+)? (?:is|are|equals|was)\s+(?=[$\d])"
    r"|[^=]*\bi\.e\.,?\s+|[^=]*\bthat is,\s+"
    r"|.*\b(?:vertex|points?|minimum|maximum|cent(?:er|re)|intersection)\b[^()]* (?:at|is) (?=\$?\([^()]*\)\W*$)"
    r"|[^=]*, giving (?=[A-Za-z] ?=)|[^=]*\b(?:holds|is true|is satisfied) (?:exactly |only )?when (?=[A-Za-z] ?=)"
    r"|[^=]*=.*,? (?:giving|yielding|so we get)(?: us)?(?: the (?:point|pair|solution|interval))? (?=[\[(])"
    r"|[^:=]*[^\W\d_]{2}[^:=]*:\s+(?:[^=]*,\s+(?:and|so)\s+)?(?=[^:]*=)",
    re.IGNORECASE,
)
"""What stands before the value of a sentence that reasons: `Since 20 - 6 = 14,`."""


_ARROW = re.compile(
    r"(?<![\s_({][A-Za-z])(?<!^[A-Za-z])(?<!\)) (?:→|⇒|⟹|➜|[-=]>|\\Rightarrow|\\implies|\\rightarrow) "
)  # not in x → 0
_SUPPOSED = re.compile(
    r"\W*(?:if|had|were|suppose|supposing|unless|assuming)\b.*\b(?:would|might|could)\b", re.IGNORECASE
)
"""What a sentence says that is not so: `If each had 9, then it would be 18`."""


_LAST_EQUATION = re.compile(
    r"(?![A-Za-z] ?=)[^=,]*[A-Za-z][^=,]*=[^=,]*(?:,[^=,]*=[^=,]*)*, (?:and )?(?:so |then |thus )?([A-Za-z] ?= "
    r"?[^,=]+)"
)
"""Steps of a solution, as in `z - 4 = 12, z = 16`."""


_LONGEST = 1500  # longer sentences are not searched for a conclusion


def _concluded(sentence: str) -> str:
    """What a sentence concludes, behind its last "so" or another word that ends its reasons; else the sentence.

    >>> _concluded("3 * 25 = 75, so there are 75 pieces.")
    'there are 75 pieces.'
    """
    if len(sentence) > _LONGEST:
        return sentence
    if _SUPPOSED.match(sentence):
        return ""
    first = _THEREFORE.match(sentence)
    if first and "tuple" in read(sentence[first.end() :]).values:
        return sentence[first.end() :]
    if (last := _LAST_EQUATION.fullmatch(sentence)) and cut(last[1])[1].values:
        return last[1]
    behind_arrow = _ARROW.split(sentence)[-1]
    if behind_arrow != sentence and cut(behind_arrow)[1].values:
        return behind_arrow
    ends = [found.end() for found in _THEREFORE.finditer(sentence)]
    if ends and cut(sentence[ends[-1] :])[1].values:
        return sentence[ends[-1] :]
    gives = _GIVES.match(sentence, ends[-1] if ends else 0) or _GIVES.match(sentence)
    return sentence[gives.end() :] if gives and cut(sentence[gives.end() :])[1].values else sentence


_FIRST_LINE = re.compile(r"\W*(?:\(?[A-J]\)?\.?|yes|no|true|false)\W*", re.IGNORECASE)
"""An answer in a line of its own, which reasons follow."""
_VALUE_LINE = re.compile(r"\W*[0-9][0-9.,/]*(?:%| [a-z]+)?\W*")
_EXPLAINS = re.compile(
    r"\W*(?:explanation|reason(?:ing)?|because|justification|here's (?:how|why)|this is because)\b", re.IGNORECASE
)
_REMARK = re.compile(
    r",? (?:- )?(?:because|since|not|and not|and nothing|rather than|instead of|assuming|provided)\b|, (?:the"
    r"|an?)\b|,? \(|"
    r", (?:which|without)\b|: (?=[^:]*\d)|;.*\b(?:wrong|incorrect|too|would)\b",
    re.IGNORECASE,
)
_PART = re.compile(r"\(?(?:[a-e]|i{1,3}|iv|v)[.)]\s")
_SQUARE = re.compile(r"\s*\$?\\?(?:black)?square\$?\s*$|\s*[∎■□]\s*$")  # the end of a proof
_EMPTY = re.compile(r"\s*(?:\$\$|\\[\[\]]|[*#_=-]*)\s*")


def _clause(sentence: str, bold: str | None) -> tuple[str, Reading, str] | None:
    """What a sentence that is not read whole says in its main clause, or in bold; its other numbers stand beside it."""
    so = [found.end() for found in _THEREFORE.finditer(sentence)][-1:]
    clauses = [bold] if bold else []
    for start in (*so, 0):
        clauses += main_clauses(sentence[start:])
    for part in clauses:
        said, reading, rest = cut(_concluded(part))
        kinds = reading.values.keys() & {"number", "clock"}
        if kinds and not rest.strip(" .!"):
            values = {kind: reading.values[kind] for kind in kinds}
            if number := values.get("number"):
                others = (one for one in numerals(sentence) if one != number.value)
                values["number"] = number._replace(beside=(*number.beside, *others))
            return said, reading._replace(values=values), rest
    return None


def _ending(text: str, bold: str | None = None) -> Found | None:
    """What a reply that states no answer ends in: its only sentence, its last line, or the last sentence of that."""
    lines = [line.strip() for line in text.splitlines() if not _EMPTY.fullmatch(line)]
    if not lines:
        return None
    if len(lines) > 1 and _PART.match(lines[-1]) and _PART.match(lines[-2]):
        return None  # one answer for each part of the problem
    last = re.sub(r"^\\\[\s*|\s*\\\]$", "", lines[-1])
    last = re.sub(r"^(?:[-*•]\s+(?=[^\W\d_])|#{1,6}\s+|\(?\d{1,2}[.)]\s+(?=[A-Z][a-z]))", "", last)
    sentences = split_sentences(last)
    if len(lines) > 1 and _FIRST_LINE.fullmatch(lines[0]) and not any(map(_FIRST_LINE.fullmatch, lines[1:])):
        first, behind = read(lines[0]), " ".join(lines[1:])
        if first.values and not re.search(
            r"\b(?:option|answer|choice|so|thus|hence|therefore)\b|\([A-J]\)", behind, re.I
        ):
            return Found(lines[0], first, True, behind, True)
    if len(lines) > 1 and _VALUE_LINE.fullmatch(lines[0]) and _EXPLAINS.match(lines[1]):
        return Found(lines[0], read(lines[0]), True, " ".join(lines[1:]), True)
    if len(lines) == 1 and len(sentences) > 1:
        first = read(sentences[0])
        if first.values.keys() & {"truth", "word"}:
            return Found(sentences[0], first, True, " ".join(sentences[1:]), True)
    if len(lines) == len(sentences) == 1 and re.match(r"(?:yes|no)\b", last, re.I) and "truth" in read(last).values:
        return Found(last, read(last), True, "", False)
    last_sentence = last if len(sentences) < 2 else sentences[-1]
    if instead := INSTEAD.match(last_sentence):
        last_sentence = instead["answer"]
    whole, reading, rest = cut(_concluded(last_sentence))
    if not reading.values.keys() - {"sequence", "several", "word"} and (clause := _clause(last_sentence, bold)):
        whole, reading, rest = clause
    alone = len(sentences) < 2 and not rest.strip(" .!")
    alone = alone or len(lines) == len(sentences) == 1 and bool(reading.values and _REMARK.match(rest))
    if len(lines) > 1:  # the last line is the answer if it is a value without words in front
        bare = not re.match(r"[^\W\d_]{2,}", plain(last))
        alone = alone and bare and bool(reading.values.keys() & {"number", "letter", "formula"})
    number = reading.values.get("number")
    again = number is not None and len(lines) > 1 and "=" in lines[-2] and numerals(lines[-2])[-1:] == (number.value,)
    truth = "truth" in reading.values and not rest.strip(" .!")
    concludes = _CONCLUDES.search(last_sentence) and not last_sentence.endswith("?")
    if alone or reading.values and (truth or concludes or again and not last_sentence.endswith("?")):
        return Found(whole, reading, True, rest, False)
    return Found(whole, Reading(reading.text, {}), False, rest, False)


def tidy(answer: str) -> str:
    """An answer without the marks around it: white space, emphasis, dollars of LaTeX, a final full stop."""
    answer = answer.strip().strip("*").strip()
    inner = re.fullmatch(r"\\\((.*)\\\)|\$([^$]*)\$", answer.removesuffix("."), re.DOTALL)
    answer = (inner[1] or inner[2] or "") if inner else answer
    return answer.removesuffix(".").strip()
