"""Solutions whose final answers or equations contradict the rest of their record."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from mtjax.data.answers import Verdict, check_answer
from mtjax.data.answers.checker import extract_answer
from mtjax.data.problem import Problem
from mtjax.mistakes.checks.base import CHECKS, RIGHT, WRONG, Check, Flag, Found, Subject, items_of
from mtjax.mistakes.text.equations import equations
from mtjax.reporting.report import Table

_PART_OF_MORE = re.compile(r"(?:[\d(*/+^-]|\d,|\band)\s*$")  # before an equation: it is the end of a longer expression
_GOES_ON = re.compile(r"\s*[-+*/x–^]\s*\w|\.{2,}|\s*(cents|¢|thousand)")  # behind it: so does its right side
_UNSURE = re.compile(r"[A-Za-wyz]|/[^=]*/|(?<![\d.,])0\d|\.\d{9}")  # units, a fraction of a fraction, a time, floats


def false_equation(text: str) -> str | None:
    """The first equation of a text that is false, as it is written; None if none is for sure.

    Left out are equations with units or letters, those that are part of a longer expression (`1 1/2 = 3`, `8 = 2 + x`),
    and divisions by fractions without brackets.
    """
    for one in equations(text):
        said = text[one.start : one.end]
        unsure = _PART_OF_MORE.search(text[: one.start]) or _GOES_ON.match(text, one.end) or _UNSURE.search(said)
        if one.false and not unsure:
            return " ".join(said.split())
    return None


def agree(solutions: tuple[str, ...], options: tuple[str, ...] = ()) -> bool | None:
    r"""Whether solutions of one problem give the same final answer, such as two rewrites with `\boxed` answers.

    None if fewer than two answers can be read and compared.

    >>> agree((r"so \boxed{\frac{1}{2}}", r"Half: \boxed{0.5}")), agree((r"\boxed{1}", r"\boxed{2}"))
    (True, False)
    """
    read = [extract_answer(text, choice=bool(options)) for text in solutions]
    first = next((answer for answer in read if answer), None)
    if first is None:
        return None
    verdicts = [
        check_answer(text, first, options=options) for text, answer in zip(solutions, read, strict=True) if answer
    ]
    if Verdict.WRONG in verdicts:
        return False
    return True if len(verdicts) > 1 and all(verdict is Verdict.RIGHT for verdict in verdicts) else None


def unconfirmed(subject: Subject, flags: Sequence[Flag]) -> list[Flag]:
    """The flags on right and wrong texts whose label the final answer does not confirm, by the answer of the record."""
    parts = {(flag.number, flag.part) for flag in flags}
    numbers, confirmed = {number for number, _ in parts}, set()
    for number, problem in enumerate(subject.read()):
        for item in items_of(number, problem) if number in numbers and problem.answer else ():
            if item.part != "answer" and (number, item.part) in parts:
                verdict = check_answer(item.text, problem.answer, question=problem.question, options=problem.options)
                if verdict is {RIGHT: Verdict.RIGHT, WRONG: Verdict.WRONG}[item.label]:
                    confirmed.add((number, item.part))
    return [flag for flag in flags if (flag.number, flag.part) not in confirmed]


@CHECKS.register("answers")
@dataclasses.dataclass(frozen=True)
class Answers(Check):
    """Right solutions with another final answer than the record's, wrong ones with the same, and false equations.

    Answers are compared as graders do; one that cannot be read with certainty is not flagged. Of records without an
    answer, all right solutions must agree: that is the filter of LiveAoPSBench, which keeps a problem if the boxed
    answers of two rewrites agree. A wrong solution with the right answer may be wrong in its reasoning, so a flip is
    proposed only if it has no false equation either.

    Source: Mahdavi et al., "Leveraging Online Olympiad-Level Math Problems", 2025 (arXiv 2501.14275), section 3.
    """

    of_texts: ClassVar[bool] = True

    equations: bool = True  # Also flag right solutions with a false equation.

    def __call__(self, subject: Subject) -> Found:
        flags: list[Flag] = []
        texts = 0
        for number, problem in enumerate(subject.read()):
            texts += len(problem.right) + len(problem.wrong)
            flags += self._flags(number, problem)
        if not texts:
            return Found(skipped="no record has right or wrong solutions")
        kinds: dict[str, int] = {}
        for flag in flags:
            kind = flag.reason.partition(":")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
        rows: list[list[Any]] = [[kind, count] for kind, count in sorted(kinds.items())]
        facts = [f"{len(flags):,} of {texts:,} solutions contradict their record."]
        return Found(flags, facts, (Table(("what", "texts"), rows),) if rows else ())

    def _flags(self, number: int, problem: Problem) -> Iterator[Flag]:
        about, gold, options = (number, problem.id), problem.answer, problem.options
        question = problem.question
        if not gold and agree(problem.right, options) is False:
            yield Flag(*about, "right solutions disagree: their final answers differ", "", 1.0, "drop")
        for n, text in enumerate(problem.right):
            false = false_equation(text) if self.equations else None
            if gold and check_answer(text, gold, question=question, options=options) is Verdict.WRONG:
                said = extract_answer(text, choice=bool(options))
                reason = f"right solution, other answer: it ends in {said!r:.60}, and the record says {gold!r:.60}"
                yield Flag(*about, reason, f"{RIGHT}/{n}", 1.0, "flip", WRONG)
            elif false is not None:
                yield Flag(*about, f"right solution, false equation: {false!r:.80}", f"{RIGHT}/{n}", 0.9, "drop", WRONG)
        for n, text in enumerate(problem.wrong):
            if gold and check_answer(text, gold, question=question, options=options) is Verdict.RIGHT:
                sound = false_equation(text) is None
                reason = f"wrong solution, right answer: it ends in the record's answer {gold!r:.60}"
                reason += "" if sound else ", after a false equation"
                yield Flag(*about, reason, f"{WRONG}/{n}", 0.8, "flip" if sound else "", RIGHT if sound else "")
