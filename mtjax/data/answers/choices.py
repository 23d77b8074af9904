"""Choices: which option of a problem an answer names, by its letter or by its text."""

import functools
import re

from mtjax.data.answers import numbers, words
from mtjax.data.answers.reader import compare, read

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CONFLICT = -1  # A letter with the text of another option, or a value that several options have.
_LABELLED = re.compile(r"\s*(?:\(([A-Za-z])\)|([A-Za-z])\s*[).:])\s*(.*)", re.DOTALL)
_LISTED = re.compile(r"(?:^|\s)\(?([A-J])\)\s*([^\n]*?)(?=\s+\(?[A-J]\)\s|\n|$)|(?:^|\n)\s*([A-J])[.:]\s+([^\n]+)")


_LETTER_AND_TEXT = re.compile(r"(?:[Ii]t(?:'s| is) )?\(?([A-Z])(?:\)|,|:|\.| -)+ *(\S.*)")


@functools.lru_cache(maxsize=1024)
def option_texts(options: tuple[str, ...]) -> tuple[str, ...]:
    """The options without their letters; they keep them unless all have the letter of their place.

    >>> option_texts(("A)21", "B)24")), option_texts(("A) x", "plain"))
    (('21', '24'), ('A) x', 'plain'))
    """
    found = [_LABELLED.fullmatch(option) for option in options]
    in_place = [one and (one[1] or one[2]).upper() == LETTERS[place] for place, one in enumerate(found[:26])]
    if len(options) > 26 or not all(in_place):
        return options
    return tuple(one[3].strip() for one in found if one)


@functools.lru_cache(maxsize=1024)
def options_in(question: str) -> tuple[str, ...]:
    """The options that a question lists as `(A) 12 (B) 15` or a line for each; () if it lists none from A on.

    >>> options_in("What is 3 * 4? (A) 10 (B) 12")
    ('10', '12')
    """
    found = [(one[1] or one[3], (one[2] or one[4]).strip(" ,;")) for one in _LISTED.finditer(question)]
    letters = "".join(letter for letter, _ in found)
    return (
        tuple(text for _, text in found)
        if len(found) > 1 and LETTERS.startswith(letters) and all(t for _, t in found)
        else ()
    )


def with_options(question: str, options: tuple[str, ...]) -> str:
    """The question with its options as lines `(A) ...` at its end, unless it names them already.

    >>> with_options("What is 3 * 4?", ("A) 10", "B) 12"))
    'What is 3 * 4?\\n(A) 10\\n(B) 12'
    """
    texts = option_texts(options)
    if not texts or all(text in question for text in texts):
        return question
    return "\n".join([question.rstrip(), *(f"({letter}) {text}" for letter, text in zip(LETTERS, texts, strict=False))])


def choose(answer: str, options: tuple[str, ...]) -> int | None:
    """The place of the option that an answer names; None if it names none, and CONFLICT for a letter with the
    text of another one.

    >>> choose("(B) 24", ("21", "24")), choose("24.0", ("21", "24")), choose("(A) 24", ("21", "24"))
    (1, 1, -1)
    """
    reading = read(answer)
    both = _LETTER_AND_TEXT.fullmatch(reading.text)
    if both and both[1] in LETTERS[: len(options)]:
        place = LETTERS.index(both[1])
        if _bare(both[2]) == _bare(read(options[place]).text):
            return place
    letter = reading.values.get("letter")
    if letter is not None and letter.letter in LETTERS[: len(options)]:
        place = LETTERS.index(letter.letter)
        named = _by_text(letter.rest, options) if letter.rest else None
        return (
            place
            if named is None or named == place or compare(read(options[named]), read(options[place]))
            else CONFLICT
        )
    if re.fullmatch("[a-j]", reading.text) and reading.text.upper() in LETTERS[: len(options)]:
        return LETTERS.index(reading.text.upper()) if _by_text(answer, options) is None else CONFLICT
    return _by_text(answer, options)


_THEN_LETTER = re.compile(
    r"(?:^|.*(?:\bis|=|:) )(?P<text>[^()\n:=]+?) \((?:[Oo]ption |[Cc]hoice )?(?P<letter>[A-J])\)\W*$"
)


_LETTER_THEN = re.compile(
    r"(?:.*\b(?:is|option|choice|answer):? )?\W*(?P<letter>[A-J])\)? \((?P<text>[^()\n]+)\)\W*$", re.IGNORECASE
)


_LETTER_DOT = re.compile(r".*\b(?:is|option|choice|answer):? \(?(?P<letter>[A-J])[).:] (?P<text>(?:(?!\. )[^()\n])+)")


def contradicted(reply: str, options: tuple[str, ...]) -> bool:
    """Whether a reply ends in the text of an option with the letter of another: `24 (A)`, `A (24)`, `It is A. 24`."""
    last = reply.strip().splitlines()[-1] if reply.strip() else ""
    found = _THEN_LETTER.fullmatch(last) or _LETTER_THEN.fullmatch(last) or _LETTER_DOT.fullmatch(last)
    named = _by_text(found["text"].strip(" *$"), options) if found else None
    return named is not None and found is not None and named != LETTERS.index(found["letter"])


_NONE = re.compile(
    r"(?:it is )?none(?: of (?:these|those|them|the (?:above|these|options|choices|others)|all))?(?: of these)?|"
    r"no(?:ne| answer| option)? (?:is )?correct",
    re.IGNORECASE,
)


_UNKNOWABLE = re.compile(r"\b(?:cannot|can't|can not) be (?:determined|known|found|answered)\b", re.IGNORECASE)


def _by_text(answer: str, options: tuple[str, ...]) -> int | None:
    reading = read(
        re.sub(r" (?:is|are) (?:the )?(?:correct|right|best)(?: (?:answer|option|choice|one))?\.?$", "", answer)
    )
    if _NONE.fullmatch(reading.text):
        nothing = [place for place, option in enumerate(options) if _NONE.fullmatch(read(option).text)]
        return nothing[0] if len(nothing) == 1 else None
    equal = [place for place, option in enumerate(options) if compare(read(option), reading)]
    if len(equal) > 1:  # such as 24 and 24 km: the one in the same words, if there is one
        exact = [place for place in equal if read(options[place]).text.casefold() == reading.text.casefold()]
        return exact[0] if len(exact) == 1 else CONFLICT
    if equal or reading.values.keys() & {"number", "several", "tuple", "formula", "truth"}:
        return equal[0] if equal else None
    no_value = [place for place, option in enumerate(options) if _UNKNOWABLE.search(read(option).text)]
    if len(no_value) == 1 and _UNKNOWABLE.search(reading.text) and not re.search("[,;?]", reading.text):
        return no_value[0]
    if words.DOUBTED.search(reading.text.casefold()) or re.search(
        r"\?|\bis it\b|\bwould\b|\brule\b", reading.text.casefold()
    ):
        return None
    said = f" {_bare(reading.text)} "
    if set(said.split()) & (numbers.BEFORE - {"first", "other", "from", "up", "over"}) or " and " in said:
        return None
    names = [_bare(words.bare_words(read(option).text)) for option in options]
    inside = [place for place, name in enumerate(names) if len(name) > 2 and f" {name} " in said]
    return inside[0] if len(inside) == 1 else None


def _bare(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))
