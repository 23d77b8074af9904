"""The exact checker of generated arithmetic: which step of a solution is wrong, and how."""

import re
from typing import Literal, NamedTuple

from mtjax.data.expressions import Expression, apply, exact_steps, parse_question

StepErrorKind = Literal["question", "format", "operand", "operator", "calculation", "missing", "extra", "answer"]


class StepError(NamedTuple):
    """What is wrong with one step.

    Attributes:
        step: 0-based number of the step; the answer counts as the step after the last one that is needed.
        kind: "format" (the line cannot be read), "operand" or "operator" (another one than the question and the steps
            so far give), "calculation" (the equation, as written, is false), "missing" or "extra" (a line), "answer"
            (not the value of the last step), "question" (not generated arithmetic; nothing is checked).
        found: the line.
        expected: what should stand there, given the lines before; "" where nothing should.
    """

    step: int
    kind: StepErrorKind
    found: str
    expected: str


class StepReport(NamedTuple):
    """What the checker says of one solution.

    Attributes:
        first_wrong: 0-based number of the first step with an error; None where there is none.
        answer_right: whether the answer line gives the value of the question, however it came about.
        errors: all errors in order. A wrong value that later steps follow through is one error, not several.
    """

    first_wrong: int | None
    answer_right: bool
    errors: tuple[StepError, ...]


_STEP = re.compile(r"Step ([0-9]{1,3}): (-?[0-9]{1,18}) ([-+*]) (-?[0-9]{1,18}) = (-?[0-9]{1,18})")
_ANSWER = re.compile(r"Answer: (-?[0-9]{1,18})")


def check_steps(question: str, solution: str) -> StepReport:
    """Check a solution of generated arithmetic line by line; never raises, whatever the texts.

    Each step must carry on from the values *written* so far, with the right operands and operator in the usual order,
    and its equation must be true; the steps must be as many as the operators, and the answer line must repeat the last
    value.
    """
    expression = parse_question(question)
    if expression is None:
        return StepReport(0, False, (StepError(0, "question", question, "12 + 7 - 5 ="),))
    truth = exact_steps(expression)[-1].value
    count = len(expression.operators)
    lines = [line.rstrip() for line in solution.strip().split("\n")]
    answers = [number for number, line in enumerate(lines) if line.startswith("Answer")]
    body = lines[: answers[0]] if answers else lines
    tail = lines[answers[0] :] if answers else []
    errors: list[StepError] = []
    for k, line in enumerate(body[:count]):
        found, expression = _check_step(k, line, expression)
        errors += found
    for k in range(len(body), count):
        errors.append(StepError(k, "missing", "", _expected(k, expression)))
        expression = expression.after(_value(expression))
    errors += [StepError(count, "extra", line, "") for line in body[count:]]
    expected = f"Answer: {expression.operands[0]}"
    match = _ANSWER.fullmatch(tail[0]) if tail else None
    if match is None:
        errors.append(StepError(count, "format" if tail else "missing", tail[0] if tail else "", expected))
    elif int(match[1]) != expression.operands[0]:
        errors.append(StepError(count, "answer", tail[0], expected))
    errors += [StepError(count, "extra", line, "") for line in tail[1:]]
    right = match is not None and int(match[1]) == truth
    return StepReport(errors[0].step if errors else None, right, tuple(errors))


def _value(expression: Expression) -> int:
    i = expression.next_step
    return apply(expression.operands[i], expression.operators[i], expression.operands[i + 1])


def _expected(k: int, expression: Expression) -> str:
    i = expression.next_step
    left, operator, right = expression.operands[i], expression.operators[i], expression.operands[i + 1]
    return f"Step {k + 1}: {left} {operator} {right} = {_value(expression)}"


def _check_step(k: int, line: str, expression: Expression) -> tuple[list[StepError], Expression]:
    """The errors of line k, and the expression that is left after the value it wrote (or should have)."""
    expected = _expected(k, expression)
    match = _STEP.fullmatch(line)
    if match is None or int(match[1]) != k + 1:
        return [StepError(k, "format", line, expected)], expression.after(_value(expression))
    i = expression.next_step
    left, operator, right, value = int(match[2]), match[3], int(match[4]), int(match[5])
    errors = []
    if (left, right) != (expression.operands[i], expression.operands[i + 1]):
        errors.append(StepError(k, "operand", line, expected))
    if operator != expression.operators[i]:
        errors.append(StepError(k, "operator", line, expected))
    if value != apply(left, operator, right):
        errors.append(StepError(k, "calculation", line, expected))
    return errors, expression.after(value)
