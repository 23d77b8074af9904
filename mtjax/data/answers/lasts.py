"""The one set, interval, point, date or time that the last sentence of a reply ends with."""

import re

from mtjax.data.answers.asked import read_question, stems
from mtjax.data.answers.calendar import MONTHS
from mtjax.data.answers.chosen import DENIES, LONGEST_SENTENCE, OPEN
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.equations import Reading
from mtjax.data.answers.normal import plain
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import split_sentences

_INNER = r"(?:[^\[\](){}]|\{[^{}]*\}|\([^(){}]*\))*"
_GROUP = re.compile(rf"(?:\\?\{{|(?<![\w)])[\[(]){_INNER},{_INNER}(?:\\?\}}|[\])])")
_MONTH = rf"(?:{'|'.join(MONTHS)})"
_DATE = re.compile(
    rf"\b(?:{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|(?:the )?\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}"
    r"(?:,? \d{4})?|\d{4}-\d\d-\d\d)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?<![\d:.])\d{1,2}:\d\d(?: ?[ap]\.?m\b\.?)?(?![\d:])|\b\d{1,2} ?[ap]\.?m\b\.?", re.IGNORECASE)
_SIDE = r"-?(?:\d+(?:[./]\d+)?|\\infty|(?<![A-Za-z])[a-z](?![a-z]))"
_RELATION = re.compile(rf"(?<![\w^*/+.-])(?<![*/+-] )(?:{_SIDE} ?(?:[<>]|\\[lg]eq?\b) ?){{1,2}}{_SIDE}")
_FORMS = {
    "relation": _RELATION,
    "several": _GROUP,
    "tuple": _GROUP,
    "intervals": re.compile(f"{_GROUP.pattern}|{_RELATION.pattern}"),
    "date": _DATE,
    "clock": _CLOCK,
}
_EXCLUDES = re.compile(
    r"\b(?:exclud\w+|doubt\w*|(?:any|no)thing but|unlikely|close to"
    r"|eliminat\w+|rul(?:e|es|ed|ing) out|discard\w*|reject\w*|outside|except|avoid\w*|forbidden"
    r"|undefined|not allowed)\b",
    re.IGNORECASE,
)
"""Words of a sentence whose value is what the answer is not."""
_OPENS = re.compile(r"\b(?:if|suppose|let|given|such as|example|e\.g|say|or|start\w*|before|until)\b", re.IGNORECASE)
_WITHOUT = re.compile(r"\bwithout (?:repeat\w*|duplicat\w*|repetitions?)\b", re.IGNORECASE)
_IS_IT = re.compile(r"^ is the (?:required|desired|requested|wanted|sought) [a-z]+(?= ?\W*$)")
_ASIDE = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)[.!]?")
_SAYS = (
    r"\b(?:is|are|was|were|makes?|gives?|get|gets|called|named|into|in|was (?:written|painted|made) by)(?: the| an?)? "
)

_OTHERS = re.compile(r"\b(?:where|while|whereas|although|unlike|than|other|instead)\b", re.IGNORECASE)
_FULL_NAME = re.compile(r"[A-Z][a-z]+(?: (?:[a-z]{1,3} )?[A-Z][a-z]+)+")
# by the Scottish scientist Sir ...
_TITLE = (
    r"(?:(?:[a-z]+ )?(?:[a-z]+(?:ist|ian)|writer|author|painter|inventor|composer|explorer|engineer|poet) )?(?:sir )?"
)
_ADDED = r"(?:\W*$|,? (?:which|who|where|in|near|around|during|located) [^?]*$)"
_EQUATION = re.compile(r"(?<![\w^*/+.-])(?<![*/+-] )[a-z] ?= ?-?\d+(?:[./]\d+)?(?![\d.]*[\w+*/^!-])")
_LINKS = re.compile(r"=|\b(?:is|to|giving|with)\b")


def _sides(sentence: str) -> list[str]:
    """What a sentence ends with, behind its last sign of equality or verb, with a remark in brackets left out."""
    text = re.sub(r" \([^()]*\)\W*$", "", sentence).rstrip(" .!$")
    ends = [one.end() for one in _LINKS.finditer(text)][-2:]
    return [text[end:].strip(" $") for end in ends]


_NAMES_IT = re.compile(
    r"(?:^|.*[,;:] (?:so |and )?)[Tt]he (?P<what>[^,;:]+?) is (?P<name>[A-Z][a-z]+)(?:, which [^,]*)?\W*$"
)


_EQUATION_IS = re.compile(r"\bequation\b[^=]*\b(?:is|becomes) [^=]*=|\b(?:has|have|get) the equation\b")
_LEADS = re.compile(r"\b(?:is|are|get|gives|have|has|means|equation|becomes)\b:?|: ")


def _whole_equation(sentence: str, right: Reading, question: str) -> bool | None:
    """Whether the one equation that a sentence ends with, behind a verb, is the gold one; None if that is not clear.

    Different is only one that the question asks for by that name.
    """
    text = re.sub(r"\\[()]", "", sentence).rstrip(" .!$")
    ends = [one.end() for one in _LEADS.finditer(text) if "=" in text[one.end() :]]
    said = text[ends[-1] :].strip(" $") if ends else ""
    equal = compare(right, read(said)) if said.count("=") == 1 else None
    asked = re.search(r"\bequation (?:of|for)\b", question) and _EQUATION_IS.search(text) and not _OPENS.search(text)
    return equal if equal or equal is False and asked else None


def _says_words(sentence: str, truth: str, word: bool, question: str) -> bool:
    """Whether a sentence says at its end, or before a clause about it, that something is the gold word or full name."""
    if not word and not _FULL_NAME.fullmatch(truth) or re.search(rf"\b{re.escape(truth)}\b", question, re.IGNORECASE):
        return False
    said = rf"{_SAYS}{_TITLE}[\"']?{re.escape(truth)}(?: one)?{_ADDED}"
    most = re.match(rf"{re.escape(truth)} (?:is|was) (the (?:[a-z]+est|most [a-z]+|first|last)\b)", sentence)
    first = most is not None and most[1] in question  # Jupiter is the largest
    found = re.search(said, sentence, re.IGNORECASE)
    if first or found is None:
        return first
    return not _OPENS.search(sentence) and not _OTHERS.search(sentence[: found.start()])


def _other_name(sentence: str, truth: str, text: str, question: str) -> bool:
    """Whether a sentence gives what a question asks for another name than the gold one, which the reply has nowhere."""
    found, asked = _NAMES_IT.fullmatch(sentence), read_question(question)
    if not found or not re.fullmatch("[A-Z][a-z]+", truth) or not re.match(r"(?:what|which)\b", asked.sentence, re.I):
        return False
    shared = stems(found["what"]) & asked.words
    return (
        not asked.denied
        and 2 * len(shared) >= len(asked.words) > 0
        and not re.search(rf"\b{truth}\b", text)
        and found["name"] not in question
    )


def ends_with(text: str, truth: str, question: str) -> bool | None:
    """Whether a cleaned reply ends with the gold value, as the last of its kind in the last sentence.

    None if the sentence leaves it open or ends otherwise. Different is only the one such value of the sentence, if the
    question does not give it and the reply has the gold one nowhere. Words of a gold answer can only be found.

    >>> ends_with("So x lies in (1, 5).", "(1, 5)", ""), ends_with("The meeting is at 6:40.", "6:20", "")
    (True, False)
    >>> ends_with("Mixing blue and yellow makes green.", "green", "What do blue and yellow make?")
    True
    """
    right = cut(truth)[1]
    form = next((form for kind, form in _FORMS.items() if kind in right.values), _EQUATION if right.name else None)
    lines = [line for line in text.splitlines() if re.search(r"\w", line)]
    if not lines or len(lines[-1]) > LONGEST_SENTENCE:
        return None
    sentences = split_sentences(lines[-1].strip())
    sentences = sentences[:-1] if len(sentences) > 1 and _ASIDE.fullmatch(sentences[-1]) else sentences
    last = plain(sentences[-1])
    last = last.rpartition(", but ")[2] if "word" in right.values and not right.values.keys() & {"number"} else last
    if re.search(r"\d!", sentences[-1]):
        return None  # a factorial
    if OPEN.search(last) or DENIES.search(_WITHOUT.sub("", last)) or _EXCLUDES.search(last):
        return None
    if "=" in right.text and (equal := _whole_equation(last, right, question)) is not None:
        return equal
    if form is None:
        if "formula" in right.values:
            return any(compare(right, read(one)) for one in _sides(last)) or None
        if question and _says_words(last, truth.strip(), "word" in right.values, question):
            return True
        return False if question and _other_name(last, right.text, text, question) else None
    found = list(form.finditer(last))
    if not found or re.search(r"\w", _IS_IT.sub("", last[found[-1].end() :])):
        return None
    own = read(found[-1][0].removeprefix("the "))
    equal = compare(right, own)
    if _OPENS.search(last[: found[-1].start()]) or equal is None:
        return None
    if equal:
        return True
    said = (one[0] for one in form.finditer(plain(text)))
    given = [read(one[0]) for one in form.finditer(plain(question))]
    open_ = len(found) > 1 or any(compare(one, own) for one in given) or any(compare(right, read(one)) for one in said)
    return None if open_ else False
