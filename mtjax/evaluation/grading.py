"""Grading: which samples answer their problem right, wrong, or in a way that cannot be decided."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from mtjax.data.answers import Verdict, check_answer, extract_answer, parse_number
from mtjax.data.problem import Problem
from mtjax.errors import InputError


class Graded(NamedTuple):
    """n samples of each of N problems, checked.

    Attributes:
        texts: what was decoded, N lists of n.
        answers: the answer found in each text; None where there is none.
        verdicts: what the check said of each.
    """

    texts: list[list[str]]
    answers: list[list[str | None]]
    verdicts: list[list[Verdict]]

    @property
    def right(self) -> Bool[np.ndarray, "N n"]:
        """True where the sample is known to be right; unknown ones are not."""
        return self._are(Verdict.RIGHT)

    @property
    def unknown(self) -> Bool[np.ndarray, "N n"]:
        """True where the check could not decide; such a sample counts as not right, and must be reported apart."""
        return self._are(Verdict.UNKNOWN)

    @property
    def without_answer(self) -> Bool[np.ndarray, "N n"]:
        """True where no answer was found; such a sample is wrong and has no vote."""
        return np.array([[answer is None for answer in row] for row in self.answers], bool)

    @property
    def votes(self) -> list[list[Hashable | None]]:
        """The answers in a form in which equal ones are equal: numbers by value, words without case."""
        return [[None if answer is None else vote(answer) for answer in row] for row in self.answers]

    def _are(self, verdict: Verdict) -> Bool[np.ndarray, "N n"]:
        return np.array([[found is verdict for found in row] for row in self.verdicts], bool)


def vote(answer: str) -> Hashable:
    """What an answer votes for: the exact number it is (`1,000` and `1000.0` are one vote), else its words."""
    number = parse_number(answer)
    return " ".join(answer.casefold().split()) if number is None else number


def gold_answer(problem: Problem) -> str | None:
    """The answer to compare with: the problem's own, or the one its first right solution gives; None without either."""
    if problem.answer:
        return problem.answer
    return extract_answer(problem.right[0]) if problem.right else None


def check_gold(problems: Sequence[Problem]) -> list[str]:
    """The gold answers of all problems; InputError naming the first that has none."""
    golds = [gold_answer(problem) for problem in problems]
    for problem, gold in zip(problems, golds, strict=True):
        if gold is None:
            raise InputError(
                f"problem {problem.id} has no answer to compare with ({golds.count(None)} of {len(golds)} have none): "
                "give it an 'answer', or a right solution that ends in one (`#### 18`, `Answer: 18`)"
            )
    return [gold for gold in golds if gold is not None]


def grade(texts: Sequence[Sequence[str]], golds: Sequence[str]) -> Graded:
    """Check every text against its problem's gold answer; equal texts of a problem are checked once.

    Shapes: `texts` N sequences of n, `golds` N. Raises InputError where the numbers of problems differ.
    """
    if len(texts) != len(golds):
        raise InputError(f"{len(texts)} problems were sampled and {len(golds)} golds given: expected as many")
    known: dict[tuple[str, str], Verdict] = {}
    answers: list[list[str | None]] = []
    verdicts: list[list[Verdict]] = []
    for row, gold in zip(texts, golds, strict=True):
        for text in row:
            if (text, gold) not in known:
                known[text, gold] = check_answer(text, gold)
        verdicts.append([known[text, gold] for text in row])
        answers.append([_answer(text, verdict, gold) for text, verdict in zip(row, verdicts[-1], strict=True)])
    return Graded([list(row) for row in texts], answers, verdicts)


def _answer(text: str, verdict: Verdict, gold: str) -> str | None:
    """The answer in the text. One line without any form or number is an answer by itself, such as a word."""
    alone = text.strip() if "\n" not in text.strip() else ""
    return extract_answer(text) or alone or (gold if verdict is Verdict.RIGHT else None)
