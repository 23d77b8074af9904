"""A question without its answer options, and what kind of final answer it asks for."""

import functools
import re
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import parse_number

_HEADING = re.compile(r"(?im)(?:^|(?<=[\s.?!]))(?:answer )?(?:options|choices)\s*(?:are\s*)?:")
_MARK = re.compile(r"(?m)(?:^|(?<=[\s,;\[({'\x22]))(?:\(?(?P<closed>[A-Ja-j])\)|(?P<bare>[A-J])[.:])(?=\s*\S)")
_LETTER = re.compile(r"\((?P<closed>[A-Ja-j])\)|(?P<bare>[A-J])(?:[).:]|$)")


class Asked(NamedTuple):
    """A question taken apart."""

    stem: str  # The question without its answer options: only numbers in here are numbers of the problem.
    options: dict[str, str]  # Text of each option by its letter, upper case; empty if the question offers none.


@functools.lru_cache(maxsize=256)
def asked(question: str) -> Asked:
    """The stem and the answer options of a question.

    Options are at least two marks in alphabetical order from A, up to the end of the last one's line: `A)` and `(b)`
    anywhere, `A.` and `A:` at the start of a line or after a heading such as `Options:` or `Answer choices:`. Whatever
    else stands after such a heading is no part of the stem either.

    >>> asked("How many are 7 + 5? (A) 11 (B) 12")
    Asked(stem='How many are 7 + 5?', options={'A': '11', 'B': '12'})
    """
    heading = _HEADING.search(question)
    run: list[tuple[str, int, int]] = []  # letter, start and end of each mark
    for mark in _MARK.finditer(question, heading.end() if heading else 0):
        letter = (mark["closed"] or mark["bare"]).upper()
        if mark["bare"] and not heading and question[: mark.start()].rpartition("\n")[2].strip():
            continue  # an initial, as in "A. Smith"
        if letter == chr(ord("A") + len(run)):
            run.append((letter, *mark.span()))
    if len(run) < 2:
        return Asked(question[: heading.start()].rstrip() if heading else question, {})
    last = question.find("\n", run[-1][2])
    ends = [start for _, start, _ in run[1:]] + [last if last >= 0 else len(question)]
    options = {
        letter: question[start:end].strip(" \t\n,;[](){}\"'") for (letter, _, start), end in zip(run, ends, strict=True)
    }
    stem = question[: heading.start() if heading else run[0][1]] + question[ends[-1] :]
    return Asked(stem.rstrip(" \t\n,;[({"), options)


def stem(question: str, answer: str) -> str:
    """The question without options if its answer is one of them, and the whole question otherwise.

    So `(a)` and `(b)` of a question with two parts stay.
    """
    parts = asked(question)
    return parts.stem if parts.options and _option(parts.options, answer) else question


def final_value(question: str, answer: str | None) -> tuple[Fraction, bool] | str | None:
    """What a final answer claims: a number (as `parse_number`), or the letter of an option without one; else None.

    An option counts as its number. With None nothing can be proved by the final answer.
    """
    number = parse_number(answer or "")
    if number is not None or not answer:
        return number
    options = asked(question).options
    name = _option(options, answer)
    return None if name is None else parse_number(options[name]) or name


def _option(options: dict[str, str], answer: str) -> str | None:
    """The letter of the option that an answer is, given as the letter or as the option's text."""
    letter = _LETTER.match(answer.strip().strip("*"))
    if letter and (name := (letter["closed"] or letter["bare"]).upper()) in options:
        return name
    return next((name for name, text in options.items() if text.casefold() == answer.strip().casefold()), None)
