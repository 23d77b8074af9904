"""The one text in bold of a reply that states no answer in so many words."""

import re
from fractions import Fraction

from mtjax.data.answers.asked import Asked, behind, of_kind, read_question, stems, values
from mtjax.data.answers.chosen import DENIES, OPEN
from mtjax.data.answers.cutting import cut
from mtjax.data.answers.normal import ascii_signs, plain
from mtjax.data.answers.numbers import Number
from mtjax.data.answers.reader import compare, read
from mtjax.data.answers.remarks import split_sentences
from mtjax.data.answers.same import same
from mtjax.data.answers.statements import HEDGED, taken_back, without_thoughts

_BOLD = re.compile(r"\*\*(?![\s:])([^*\n]{1,120}?)(?<![\s:])\*\*(?!:)")
_NAMES = re.compile(r"\b(?:is|are|was|were|be|called|named|termed|by|on|stands for|[a-z]+(?:er|st)):? (?:an? |the )?$")
_ELSE = re.compile(
    r"\b(?:each|every|per|after|before|near|second|third|other|another|first|odd|even|prime|previous\w*|original\w*|last"
    r"|initial\w*|start\w*|basic|than|next|about|around)\b",
    re.IGNORECASE,
)
"""Words by which a sentence speaks of something beside what is asked, if the question does not have them."""
_GOES_ON = re.compile(r"\b(?:is|are|was|were|now|but|then)\b")  # $40 last year and is $45 now
_CALLED = re.compile(r"\b(?:called|named|known as) (?:an? |the )?$")
_LONGEST = 4000  # characters of a reply


def in_bold(reply: str, truth: str, question: str) -> bool | None:
    """Whether the only text in bold of a reply is the gold answer; None unless its sentence says that it is the answer.

    Labels, such as `**Step 1:**`, do not count. Different is only a value of the gold one's kind, in the last sentence
    that has one, where the reply has the gold one nowhere; of words, only what something is called or is.

    >>> in_bold("The capital of Peru is **Lima**, on the coast.", "Lima", "What is the capital of Peru?")
    True
    """
    text = without_thoughts(reply)
    found = list(_BOLD.finditer(text)) if len(text) <= _LONGEST else []
    if len(found) != 1:
        return None
    said, lead, rest = found[0][1].strip().rstrip("."), text[: found[0].start()], text[found[0].end() :]
    own_line = lead.rpartition("\n")[2], rest.partition("\n")[0]
    sentence = plain(split_sentences(own_line[0] + said)[-1] + (split_sentences(own_line[1]) or [""])[0])
    if OPEN.search(sentence) or DENIES.search(sentence) or HEDGED.search(sentence) or taken_back(plain(rest)):
        return None
    right, own = cut(truth)[1], read(said)
    kinds = right.values.keys() & own.values.keys()
    equal = same(said, own, truth, (), question)
    asked, number = read_question(question), own.values.get("number")
    behind_it = plain(own_line[1].partition(". ")[0])
    goes_on = _GOES_ON.search(behind_it) and values(behind_it) - asked.given - _values(number)
    beside = _ELSE.search(" ".join(plain(own_line[0]).split()[-2:]))  # the day after Friday
    if equal:
        return None if goes_on or beside else True
    answers = _answers(sentence, asked, bool(_CALLED.search(lead)))
    if "word" in kinds and kinds <= {"word", "sequence"}:
        return _name(said, right.text, lead, reply, question) if answers else None
    if equal is None or not answers:
        return None
    if number is not None and "number" in right.values:
        others = values(plain(ascii_signs(rest))) - asked.given - {number.value}
        words = " ".join(behind(plain(rest)))
        fits = of_kind(number, f"{number.words} {words}".strip(), asked) and number.value not in asked.given
        return None if others or not fits or number.approximate or _says(text, truth) else False
    later = any(compare(right, read(one)) is not None for one in split_sentences(plain(rest)))
    return None if later or _says(text, truth) or not kinds - {"sequence", "word"} else False


def _says(text: str, truth: str) -> bool:
    """Whether a reply has the gold answer somewhere, in digits, words or signs."""
    squeeze = lambda text: re.sub(r"[\s$\\{}]", "", plain(ascii_signs(text))).casefold()
    number = read(truth).values.get("number")
    return squeeze(truth) in squeeze(text) or number is not None and number.value in values(plain(ascii_signs(text)))


def _answers(sentence: str, asked: Asked, called: bool) -> bool:
    """Whether a sentence has half of the words of what is asked, and none by which it speaks of something else.

    Where it says what something is `called`, one word is enough.
    """
    beside = {word.lower() for word in _ELSE.findall(sentence)} - set(asked.sentence.lower().split())
    shared = len(stems(sentence) & asked.words)
    return not beside and (called and shared > 0 or 2 * shared >= len(asked.words) > 0)


def _values(number: Number | None) -> frozenset[Fraction]:
    return frozenset() if number is None else frozenset([number.value])


def _name(said: str, truth: str, lead: str, reply: str, question: str) -> bool | None:
    """False for another word or name in bold than the gold one, which something is or is called."""
    one_word = all(re.fullmatch(r"[A-Za-z]{3,}", word) for word in (said, truth))
    free = not re.search(rf"\b{re.escape(said)}\b", question, re.IGNORECASE)
    named = one_word and free and _NAMES.search(lead) and not re.search(rf"\b{re.escape(truth)}", reply, re.IGNORECASE)
    return False if named else None
