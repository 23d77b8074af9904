"""The exact checker of generated arithmetic: which step of a solution is wrong, and how."""

import re
from typing import Literal, NamedTuple

from mtjax.data.expressions import Expression, apply, dropped_carry, exact_steps, parse_question, solution_text

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


_LINE = re.compile(r"(Step [0-9]+: |Answer: )(.*)", re.DOTALL)
_EQUATION = re.compile(r"(-?[0-9]+) ([-+*]) (-?[0-9]+) = (-?[0-9]+)")


class WrongStep(NamedTuple):
    """The first wrong step of a solution and the right one; fields as in `Mistake`."""

    prefix: str
    right_step: str
    right_rest: str
    wrong_step: str
    wrong_rest: str
    span: tuple[int, int]
    before: str
    after: str
    error_type: str
    judge: str


def first_wrong_step(question: str, solution: str) -> WrongStep | None:
    """The first wrong step of generated arithmetic, if it is proved wrong; None otherwise.

    Proved is a step whose equation is false ("equation"); or with a number that is neither given nor derived so far
    ("number"), or an operator that stands before neither of its numbers ("operator"); or an answer that is not the
    value ("final answer"). A true step in another order than the checker's, or one it cannot read, is not proved wrong.
    """
    expression = parse_question(question)
    report = check_steps(question, solution)
    if expression is None or report.first_wrong is None:
        return None
    number = report.first_wrong
    kinds = {error.kind for error in report.errors if error.step == number}
    lines, exact = solution.strip().split("\n"), solution_text(exact_steps(expression)).split("\n")
    found = _LINE.fullmatch(lines[number].rstrip()) if number < len(lines) else None
    expected = _LINE.fullmatch(exact[number]) if number < len(exact) else None
    if found is None or expected is None or not kinds <= {"operand", "operator", "calculation", "answer"}:
        return None
    proof = ("copied_number", "final answer") if kinds == {"answer"} else _proof(expression, number, found[2])
    if proof is None:
        return None
    start = sum(len(line) + 1 for line in lines[:number])
    span, before, after = _difference(expected[2], found[2])
    return WrongStep(
        prefix=solution.strip()[:start] + found[1],
        right_step=expected[2],
        right_rest="".join(f"\n{line}" for line in exact[number + 1 :]),
        wrong_step=found[2],
        wrong_rest=solution.strip()[start + len(found[0]) :],
        span=span,
        before=before,
        after=after,
        error_type=proof[0],
        judge=proof[1],
    )


def _proof(expression: Expression, number: int, step: str) -> tuple[str, str] | None:
    """Error type and judge of a step that is proved wrong, behind `number` right steps; None where it is not."""
    match = _EQUATION.fullmatch(step)
    if match is None:
        return None
    left, operator, right, value = int(match[1]), match[2], int(match[3]), int(match[4])
    if value != apply(left, operator, right):
        return "carry" if value == dropped_carry(left, operator, right) else "value", "equation"
    given, signed = set(expression.operands), _signed(expression)
    for done in exact_steps(expression)[:number]:
        expression = expression.after(done.value)
        given, signed = given | set(expression.operands), signed | _signed(expression)
    if not {left, right} <= given:
        return "copied_number", "number"
    if (operator, right) in signed or (operator != "-" and (operator, left) in signed):
        return None
    return "operator", "operator"


def _signed(expression: Expression) -> set[tuple[str, int]]:
    """Each number with the operator in front of it; the first has a plus."""
    return set(zip(("+", *expression.operators), expression.operands, strict=True))


def _difference(right: str, wrong: str) -> tuple[tuple[int, int], str, str]:
    """Where the words of two steps first and last differ: the span in `wrong`, and both texts there."""
    words = [list(re.finditer(r"\S+", text)) for text in (right, wrong)]
    differ = [i for i, (a, b) in enumerate(zip(*words, strict=True)) if a[0] != b[0]]
    (start, end), (a, b) = ((side[differ[0]].start(), side[differ[-1]].end()) for side in reversed(words))
    return (start, end), right[a:b], wrong[start:end]
