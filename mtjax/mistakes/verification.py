"""Whether a wrong side is wrong: proved, refuted (it is still right), or beyond what a checker can judge."""

import dataclasses
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.answers import extract_answer, parse_number, same_number, stated_answer
from mtjax.data.expressions import parse_question
from mtjax.data.mistake_record import Mistake, Verdict
from mtjax.mistakes.filters import identical, still_true
from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.known_numbers import derivable, known_numbers
from mtjax.mistakes.text.lexer import Token, number_of, numbers_in


class Judgement(NamedTuple):
    """What a checker says of a wrong side.

    Attributes:
        verdict: "proved" wrong, "refuted" (still right), or "unproved".
        judge: which check decided: "equation", "final answer", "number", "identical" or "same values"; "" for none.
    """

    verdict: Verdict
    judge: str = ""


# Behind these an expression is only part of what is meant: "half of 10 + 4 = 9".
_MODIFIERS = """of half twice double triple thrice times plus minus by quarter third fifth tenth percent dozen hundred
thousand million about around roughly approximately almost nearly per over with and"""


def verify(mistake: Mistake) -> Judgement:
    """Judge the wrong side of a mistake; whatever verdict it carries is not looked at.

    A step is proved wrong when, in this order,

    - one of its equations is false ("equation"): under every reading of percent signs, by more than rounding, where
      the equation in its place in the right step reads as true;
    - the rest of the solution, the same but for its numbers and true in its equations, arrives at another number than
      the gold answer, at which the right solution arrives ("final answer");
    - an equation uses a number that is neither given, nor worked out before, nor one or two mental operations away
      from those, or the words of the right step stand with such a number in place of a known one ("number"). Generated
      arithmetic must take each number from the question or from a step that is written out; elsewhere a model's
      equation that arrives at the right step's result proves nothing.

    A whole solution is proved wrong when its final answer is another number than the gold one. Of a text that rules did
    not make, a final answer is one that it states (`mtjax.data.answers.stated_answer`). Everything is exact: a rounded
    result is not a false one.

    Raises nothing; a text that cannot be read is unproved.
    """
    if mistake.kind == "solution":
        return _solution(mistake)
    if identical(mistake.right_step, mistake.wrong_step):
        return Judgement("refuted", "identical")
    right, wrong = equations(mistake.right_step), equations(mistake.wrong_step)
    if _false_equation(right, wrong):
        return Judgement("proved", "equation")
    if _other_answer(mistake):
        return Judgement("proved", "final answer")
    if _unknown_number(mistake, right, wrong):
        return Judgement("proved", "number")
    if still_true(mistake.right_step, mistake.wrong_step) and _same_words(mistake.right_step, mistake.wrong_step):
        return Judgement("refuted", "same values")
    return Judgement("unproved")


def with_verdict(mistake: Mistake) -> Mistake:
    """The mistake with verdict and judge as `verify` has them."""
    verdict, judge = verify(mistake)
    return dataclasses.replace(mistake, verdict=verdict, judge=judge)


def _solution(mistake: Mistake) -> Judgement:
    right, wrong = mistake.right_solution, mistake.wrong_solution
    if identical(right, wrong):
        return Judgement("refuted", "identical")
    if _differ(mistake.wrong_answer or extract_answer(wrong), mistake.answer) and _states(mistake, wrong):
        return Judgement("proved", "final answer")
    same = bool(mistake.answer) and _same(mistake.wrong_answer or extract_answer(wrong), mistake.answer)
    if same and not any(equation.false for equation in equations(wrong)):
        return Judgement("refuted", "final answer")
    return Judgement("unproved")


def _false_equation(right: Sequence[Equation], wrong: Sequence[Equation]) -> bool:
    """Whether a wrong equation is false for certain.

    The reading is trusted where the right step has as many equations and the one in the same place, behind the same
    word, is true; or else where all of the right step's are true and no word in front changes what is meant.
    """
    for i, equation in enumerate(wrong):
        if not equation.false:
            continue
        if len(right) == len(wrong):
            twin = right[i]
            if twin.true and twin.word == equation.word:
                return True
        elif right and all(twin.true for twin in right) and equation.word not in _MODIFIERS.split():
            return True
    return False


def _states(mistake: Mistake, text: str) -> bool:
    """Whether a text's last number is its answer: a model may end with any, the rule editor changed a right text."""
    return mistake.generator == "rules" or stated_answer(text) is not None


def _differ(answer: str | None, gold: str) -> bool:
    """Whether both are numbers, and not the same one."""
    a, b = parse_number(answer or ""), parse_number(gold)
    return a is not None and b is not None and not same_number(a, b)


def _same(answer: str | None, gold: str) -> bool:
    a, b = parse_number(answer or ""), parse_number(gold)
    return a is not None and b is not None and same_number(a, b)


def _other_answer(mistake: Mistake) -> bool:
    """Whether the step alone leads the same way on to another final answer."""
    wrong, right = mistake.wrong_solution, mistake.right_solution
    ends = bool(mistake.wrong_rest.strip()) or not mistake.right_rest.strip() or stated_answer(mistake.wrong_step)
    if (
        not ends
        or not _same(extract_answer(right), mistake.answer)
        or not _differ(extract_answer(wrong), mistake.answer)
        or not _states(mistake, wrong)
    ):
        return False
    # A model's edit may say the same in another unit; the rule editor knows what it changed.
    if mistake.generator != "rules" and not _same_words(mistake.right_step, mistake.wrong_step):
        return False
    # The rest must be what it was but for its numbers, or else its own words may be what went wrong.
    if not _shape(mistake.right_rest).endswith(_shape(mistake.wrong_rest)):
        return False
    before = {equation.values: equation.false for equation in equations(mistake.right_rest)}
    return not any(equation.false and not before.get(equation.values) for equation in equations(mistake.wrong_rest))


def _shape(text: str) -> str:
    """A text with every number replaced by the same sign, so that what goes on alike reads alike."""
    return re.sub(r"<<[^<>\n]*>>|[$€£¥]|(?:[0-9][0-9,]*)?\.?[0-9]+", lambda m: "" if m[0][0] in "<$€£¥" else "0", text)


def _unknown_number(mistake: Mistake, right: Sequence[Equation], wrong: Sequence[Equation]) -> bool:
    """Whether the step uses a number that comes from nowhere."""
    strict = parse_question(mistake.question) is not None
    known = set(known_numbers(mistake.question, mistake.prefix))
    if strict:
        known = {number_of(t) for t in _question_tokens(mistake.question)}
        known |= {equation.value for equation in equations(mistake.prefix)}
    usual = {number_of(token) for equation in right for token in equation.operands}
    # A model may say the same by a rounding, or by a number that takes more than two operations.
    results = set() if mistake.generator == "rules" else {twin.value for twin in right}
    comparable = [twin.word for twin in right] == [equation.word for equation in wrong] or strict
    for equation in wrong if comparable else ():
        for token in equation.operands:
            number = number_of(token)
            if strict and number not in known:
                return True
            nowhere = not strict and number not in usual and not derivable(number, known)
            if nowhere and equation.value not in results:
                return True
        known.add(equation.value)
    same = bool(wrong) and {equation.value for equation in wrong} <= results
    return not strict and not same and _miscopied(mistake, known)


def _miscopied(mistake: Mistake, known: set[Fraction]) -> bool:
    """Whether the same words stand with a number from nowhere where the right step has a known one."""
    right, wrong = numbers_in(mistake.right_step), numbers_in(mistake.wrong_step)
    if len(right) != len(wrong) or not _same_words(mistake.right_step, mistake.wrong_step):
        return False
    usual = known | {number_of(token) for token in right}
    changed = ((number_of(old), number_of(new)) for old, new in zip(right, wrong, strict=True))
    return any(old in known and new not in usual and not derivable(new, usual) for old, new in changed if old != new)


def _question_tokens(question: str) -> list[Token]:
    return [token for equation in equations(question.strip() + " 0") for token in equation.operands]


def _same_words(right: str, wrong: str) -> bool:
    """Whether the steps have the same words and signs of money and percent: another may turn what is said."""
    said = lambda text: sorted(re.findall(r"[^\W\d_]+|[$€£¥¢%°]", text.lower()))
    return said(right) == said(wrong)
