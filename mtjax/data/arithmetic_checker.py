"""The exact checker of generated arithmetic: which step of a solution is wrong, and how."""

import re
from typing import Literal, NamedTuple

from mtjax.data.expressions import Expression, Step, apply, dropped_carry, exact_steps, parse_question, solution_text

StepErrorKind = Literal["question", "format", "operand", "operator", "calculation", "missing", "extra", "answer"]
"""What is wrong with a step: the line cannot be read (format); its operand or operator is another than the question and
the steps so far give; its equation is false (calculation); it is missing or extra; the answer is not the value of the
last step; or the question is not generated arithmetic, and nothing is checked."""


class StepError(NamedTuple):
    """One error in a step."""

    step: int  # 0-based; the answer counts as the step after the last one that is needed
    kind: StepErrorKind
    found: str  # the line
    expected: str  # what should stand there, given the lines before; "" where nothing should


class StepReport(NamedTuple):
    """The result of checking one solution."""

    first_wrong: int | None  # 0-based number of the first step with an error; None if there is none
    answer_right: bool  # whether the answer line gives the value of the question, however it came about
    errors: tuple[StepError, ...]  # in order; a wrong value that later steps follow through is one error


_STEP = re.compile(r"Step ([0-9]{1,3}): (-?[0-9]{1,18}) ([-+*]) (-?[0-9]{1,18}) = (-?[0-9]{1,18})")
_ANSWER = re.compile(r"Answer: (-?[0-9]{1,18})")


def check_steps(question: str, solution: str) -> StepReport:
    """Check a solution of generated arithmetic line by line; never raises, whatever the texts.

    Each step must carry on from the values *written* so far, with the right operands and operator in the usual order,
    and its equation must be true. There must be as many steps as operators, and the answer must be the last value.
    """
    expression = parse_question(question)
    if expression is None:
        return StepReport(0, False, (StepError(0, "question", question, "12 + 7 - 5 ="),))
    truth, count = exact_steps(expression)[-1].value, len(expression.operators)
    lines = [line.rstrip() for line in solution.strip().split("\n")]
    end = next((number for number, line in enumerate(lines) if line.startswith("Answer")), len(lines))
    body, tail = lines[:end], lines[end:]
    errors: list[StepError] = []
    for k in range(count):
        line, right = body[k] if k < len(body) else "", expression.step
        step = _read_step(k, line)
        unread: StepErrorKind = "format" if k < len(body) else "missing"
        kinds = [unread] if step is None else _wrong_parts(step, right)
        errors += [StepError(k, kind, line, f"Step {k + 1}: {right}") for kind in kinds]
        expression = expression.after(right.value if step is None else step.value)
    errors += [StepError(count, "extra", line, "") for line in body[count:]]
    expected = f"Answer: {expression.operands[0]}"
    answer = _ANSWER.fullmatch(tail[0]) if tail else None
    if answer is None:
        errors.append(StepError(count, "format" if tail else "missing", tail[0] if tail else "", expected))
    elif int(answer[1]) != expression.operands[0]:
        errors.append(StepError(count, "answer", tail[0], expected))
    errors += [StepError(count, "extra", line, "") for line in tail[1:]]
    right_answer = answer is not None and int(answer[1]) == truth
    return StepReport(errors[0].step if errors else None, right_answer, tuple(errors))


def _read_step(k: int, line: str) -> Step | None:
    """The equation on the line of step k (from 0); None if the line has another form or number."""
    match = _STEP.fullmatch(line)
    if match is None or int(match[1]) != k + 1:
        return None
    return Step(int(match[2]), match[3], int(match[4]), int(match[5]))


def _wrong_parts(step: Step, right: Step) -> list[StepErrorKind]:
    wrong: dict[StepErrorKind, bool] = {
        "operand": (step.left, step.right) != (right.left, right.right),
        "operator": step.operator != right.operator,
        "calculation": step.value != apply(step.left, step.operator, step.right),
    }
    return [kind for kind, found in wrong.items() if found]


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
    expression, report = parse_question(question), check_steps(question, solution)
    k = report.first_wrong
    if expression is None or k is None:
        return None
    kinds = {error.kind for error in report.errors if error.step == k}
    if not kinds <= {"operand", "operator", "calculation", "answer"}:
        return None
    lines, exact = solution.strip().split("\n"), solution_text(exact_steps(expression)).split("\n")
    line = lines[k].rstrip()
    step = _read_step(k, line)
    proof = ("copied_number", "final answer") if step is None else _proof(expression, k, step)
    if proof is None:
        return None
    (header, _, wrong), right = line.partition(": "), exact[k].partition(": ")[2]
    words = zip(re.finditer(r"\S+", right), re.finditer(r"\S+", wrong), strict=True)
    differ = [(a, b) for a, b in words if a[0] != b[0]]
    before, after = (slice(first.start(), last.end()) for first, last in zip(differ[0], differ[-1], strict=True))
    start = sum(len(line) + 1 for line in lines[:k])
    return WrongStep(
        prefix=f"{solution.strip()[:start]}{header}: ",
        right_step=right,
        right_rest="".join(f"\n{line}" for line in exact[k + 1 :]),
        wrong_step=wrong,
        wrong_rest=solution.strip()[start + len(line) :],
        span=(after.start, after.stop),
        before=right[before],
        after=wrong[after],
        error_type=proof[0],
        judge=proof[1],
    )


def _proof(expression: Expression, k: int, step: Step) -> tuple[str, str] | None:
    """Error type and judge of a step that is proved wrong after k right steps; None if it is not."""
    left, operator, right, value = step
    if value != apply(left, operator, right):
        return "carry" if value == dropped_carry(left, operator, right) else "value", "equation"
    states = [expression]
    for done in exact_steps(expression)[:k]:
        states.append(states[-1].after(done.value))
    # Each number so far with the operator before it; the first has a plus.
    signed = {pair for state in states for pair in zip(("+", *state.operators), state.operands, strict=True)}
    if not {left, right} <= {number for _, number in signed}:
        return "copied_number", "number"
    if (operator, right) in signed or (operator != "-" and (operator, left) in signed):
        return None
    return "operator", "operator"
