"""Whether a wrong side is wrong: proved, refuted (it is still right), or beyond what a checker can judge."""

import dataclasses
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from mtjax.data import answers
from mtjax.data.answers import Verdict as AnswerVerdict
from mtjax.data.answers import check_answer, extract_answer, options_in, stated_answer
from mtjax.data.expressions import parse_question
from mtjax.data.mistake_record import Mistake, Verdict
from mtjax.mistakes.filters import identical, still_true
from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.known_numbers import counted, derivable, known_numbers
from mtjax.mistakes.text.lexer import number_of, numbers_in
from mtjax.mistakes.text.question import final_value, stem


class Judgement(NamedTuple):
    """The verdict of a checker on a wrong side."""

    verdict: Verdict  # "proved" wrong, "refuted" (still right), or "unproved".
    judge: str = ""  # The check that decided: "equation", "final answer", "number", "identical", "same values"; or "".


# After these words an expression is only part of what is meant: "half of 10 + 4 = 9".
_MODIFIERS = """of half twice double triple thrice times plus minus by quarter third fifth tenth percent dozen hundred
thousand million about around roughly approximately almost nearly per over with and"""


def verify(mistake: Mistake) -> Judgement:
    """Judge the wrong side of a mistake, whatever verdict it carries. Never raises; an unreadable text is unproved.

    A step is proved wrong when, in this order,

    - one of its equations is false ("equation"): under every reading of percent signs, by more than rounding, and the
      equation in its place in the right step reads as true;
    - the rest of the solution, the same except for its numbers and true in its equations, arrives at another number or
      option than the gold answer, at which the right solution arrives ("final answer");
    - in place of a number that the question gives or an earlier step computes, an equation uses one that is not given,
      not computed, and not one or two mental operations away from those; or the same words stand with such a number in
      place of one that the question gives to the same thing ("number"). Generated arithmetic must take each number from
      the question or from a step that is written out; elsewhere a model's equation that arrives at the right step's
      result proves nothing.

    The last two need a gold answer that is a number or an option: a text that answers no such question states facts of
    its own, which arithmetic cannot judge. A complete solution is proved wrong when its final answer is another one
    than the gold one. In a text that rules did not make, only a stated final answer counts
    (`mtjax.data.answers.stated_answer`).
    """
    if mistake.kind == "solution":
        return _solution(mistake)
    if identical(mistake.right_step, mistake.wrong_step):
        return Judgement("refuted", "identical")
    right, wrong = equations(mistake.right_step), equations(mistake.wrong_step)
    if _false_equation(right, wrong, signed=parse_question(mistake.question) is not None):
        return Judgement("proved", "equation")
    if _other_answer(mistake):
        return Judgement("proved", "final answer")
    if _unknown_number(mistake, right, wrong):
        return Judgement("proved", "number")
    if still_true(mistake.right_step, mistake.wrong_step) and _same_words(mistake):
        return Judgement("refuted", "same values")
    return Judgement("unproved")


def with_verdict(mistake: Mistake) -> Mistake:
    """The mistake with the verdict and judge of `verify`."""
    return dataclasses.replace(mistake, **verify(mistake)._asdict())


def same_answer(answer: str | None, gold: str, question: str = "") -> bool | None:
    """Whether two answers are the same number or option of the question; None if the gold one is neither, or an answer
    cannot be read."""
    if final_value(question, gold) is None:
        return None
    return answers.same_answer(answer, gold, options=options_in(question), question=question)


def _solution(mistake: Mistake) -> Judgement:
    wrong = mistake.wrong_solution
    if identical(mistake.right_solution, wrong):
        return Judgement("refuted", "identical")
    if mistake.generator == "rules" or not mistake.answer:
        same = same_answer(mistake.wrong_answer or extract_answer(wrong), mistake.answer, mistake.question)
    else:
        verdict = check_answer(wrong, mistake.answer, question=mistake.question, options=options_in(mistake.question))
        same = None if verdict is AnswerVerdict.UNKNOWN else verdict is AnswerVerdict.RIGHT
    if same is False and _states_answer(mistake):
        return Judgement("proved", "final answer")
    if same and not any(equation.false for equation in equations(wrong)):
        return Judgement("refuted", "final answer")
    return Judgement("unproved")


def _states_answer(mistake: Mistake) -> bool:
    """Whether the wrong solution's last number is its answer.

    It is stated; or rules made it, from a right text that ends in the answer, and its last line no longer has the gold
    answer in another place.
    """
    if stated_answer(mistake.wrong_solution, choice=bool(options_in(mistake.question))) is not None:
        return True
    gold = final_value(mistake.question, mistake.answer)
    last = mistake.wrong_solution.strip().rpartition("\n")[2]
    there = {number_of(token) for token in numbers_in(last)}
    return mistake.generator == "rules" and isinstance(gold, tuple) and gold[0] not in there


def _false_equation(right: Sequence[Equation], wrong: Sequence[Equation], signed: bool) -> bool:
    """Whether a wrong equation is certainly false.

    The reading is trusted if the right step has as many equations and the one in the same place, after the same word,
    is true; or else if all of the right step's are true and no word before it changes what is meant. Unless `signed`,
    `1887 - 1889 = 2` may mean the difference or a range of years, and so is not certainly false.
    """
    for i, equation in enumerate(wrong):
        if len(right) == len(wrong):
            trusted = right[i].true and right[i].word == equation.word
        else:
            trusted = bool(right) and all(e.true for e in right) and equation.word not in _MODIFIERS.split()
        reversed_ = not signed and equation.values[1] is not None and -equation.values[1] == equation.value
        if trusted and equation.false and not reversed_:
            return True
    return False


def _other_answer(mistake: Mistake) -> bool:
    """Whether the step alone leads, continued in the same way, to another final answer."""
    ends = bool(mistake.wrong_rest.strip()) or not mistake.right_rest.strip() or stated_answer(mistake.wrong_step)
    if not ends or not _states_answer(mistake):
        return False
    right, wrong = extract_answer(mistake.right_solution), extract_answer(mistake.wrong_solution)
    same = [same_answer(answer, mistake.answer, mistake.question) for answer in (right, wrong)]
    if same != [True, False]:
        return False
    last = [number_of(token) for token in numbers_in(mistake.right_solution)][-1:]
    if last and last == [number_of(token) for token in numbers_in(wrong or "")]:
        return False  # the right solution ends in this number too, as in `= 0.30 dollars, that is 30 cents`
    # A model's edit may say the same in another unit; with rules, what changed is known.
    if mistake.generator != "rules" and not _same_words(mistake):
        return False
    # The rest must be the same except for its numbers, because otherwise its own words may be what is wrong.
    if not _shape(mistake.right_rest).endswith(_shape(mistake.wrong_rest)):
        return False
    before = {equation.values: equation.false for equation in equations(mistake.right_rest)}
    return not any(equation.false and not before.get(equation.values) for equation in equations(mistake.wrong_rest))


def _shape(text: str) -> str:
    """A text with every number replaced by the same sign."""
    return re.sub(r"<<[^<>\n]*>>|[$€£¥]|(?:[0-9][0-9,]*)?\.?[0-9]+", lambda m: "" if m[0][0] in "<$€£¥" else "0", text)


def _unknown_number(mistake: Mistake, right: Sequence[Equation], wrong: Sequence[Equation]) -> bool:
    """Whether the step uses a number without a source in place of one that has a source."""
    generated = parse_question(mistake.question) is not None
    if generated:
        asked = equations(mistake.question.strip() + " 0")
        known = {number_of(token) for equation in asked for token in equation.operands}
        known |= {equation.value for equation in equations(mistake.prefix)}
    elif final_value(mistake.question, mistake.answer) is None:
        return False  # the text states facts of its own
    else:
        # A model may have tried the options, so to it their numbers are given.
        given = stem(mistake.question, mistake.answer) if mistake.generator == "rules" else mistake.question
        known = set(known_numbers(given, mistake.prefix))
    usual = {number_of(token) for equation in right for token in equation.operands}
    # A model may say the same by a rounding, or by a number that takes more than two operations.
    results = set() if mistake.generator == "rules" else {equation.value for equation in right}
    same_clauses = [equation.word for equation in right] == [equation.word for equation in wrong]
    if generated or (same_clauses and _replaces_sourced(mistake, right, wrong)):
        for equation in wrong:
            for number in map(number_of, equation.operands):
                if generated:
                    sourced = number in known
                else:
                    sourced = number in usual or derivable(number, known) or equation.value in results
                if not sourced:
                    return True
            known.add(equation.value)
    same = bool(wrong) and {equation.value for equation in wrong} <= results
    return not generated and not same and _miscopied(mistake, known)


def _replaces_sourced(mistake: Mistake, right: Sequence[Equation], wrong: Sequence[Equation]) -> bool:
    """Whether every operand that the wrong equations leave out comes from the question or from an earlier result.

    Otherwise the right step itself brings in numbers, and so might the wrong one.
    """
    known = known_numbers(stem(mistake.question, mistake.answer))
    sources = {equation.value for equation in equations(mistake.prefix)} | known
    kept = {number_of(token) for equation in wrong for token in equation.operands}
    for equation in right:
        if not all(derivable(n, sources, frozenset()) for n in map(number_of, equation.operands) if n not in kept):
            return False
        sources.add(equation.value)
    return True


def _miscopied(mistake: Mistake, known: set[Fraction]) -> bool:
    """Whether the same words have a number without a source where the right step has one that the question gives.

    The number must count the same thing in question and step (the noun after it, or its sign of money or percent); an
    earlier result counts like a number of the question.
    """
    right, wrong = (numbers_in(text) for text in (mistake.right_step, mistake.wrong_step))
    if len(right) != len(wrong) or not _same_words(mistake):
        return False
    starts = (equation.right.start for equation in equations(mistake.prefix))
    results = "\n".join(mistake.prefix[start:].partition("\n")[0] for start in starts)
    given = set(counted(stem(mistake.question, mistake.answer))) | set(counted(results))
    usual = known | {number_of(token) for token in right}
    said = counted(mistake.right_step)
    return any(
        number_of(old) != number_of(new) and said[n] in given and said[n][1]
        and number_of(new) not in usual and not derivable(number_of(new), usual)
        for n, (old, new) in enumerate(zip(right, wrong, strict=True))
    )  # fmt: skip


def _same_words(mistake: Mistake) -> bool:
    """Whether the steps have the same words and signs of money and percent: another may change what is said."""
    said = lambda text: sorted(re.findall(r"[^\W\d_]+|[$€£¥¢%°]", text.lower()))
    return said(mistake.right_step) == said(mistake.wrong_step)
