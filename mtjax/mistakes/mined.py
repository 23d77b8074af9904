"""Mined solutions as mistake records: a wrong and a right solution side by side, and the first wrong step."""

import json
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from mtjax.data.answers import stated_answer
from mtjax.data.expressions import Expression, apply, dropped_carry, exact_steps, parse_question, solution_text
from mtjax.data.mined import Mined, MinedProblem, Solution, read_mined, solutions_file
from mtjax.data.step_check import check_steps
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.io.journal import MANIFEST
from mtjax.mistakes.filters import levenshtein
from mtjax.mistakes.record import Mistake

KINDS: tuple[Literal["solution", "step"], ...] = ("solution", "step")
"""Which records there are, see `Mistake.kind`."""

_LINE = re.compile(r"(Step [0-9]+: |Answer: )(.*)", re.DOTALL)
_STEP = re.compile(r"(-?[0-9]+) ([-+*]) (-?[0-9]+) = (-?[0-9]+)")


def mined_mistakes(
    path: str,
    *,
    kinds: Collection[Literal["solution", "step"]] = KINDS,
    pairs_per_problem: int | None = None,
    seed: int = 0,
) -> Iterator[Mistake]:
    """The mistakes in a folder or file of mined solutions, problem by problem.

    - "solution": each wrong solution beside a right one of its problem; which one, and which `pairs_per_problem` of the
      wrong ones, is drawn by `seed`. Proved by the final answer.
    - "step": where an exact checker knows the first wrong step, that step beside the right one, once for solutions that
      share it. Only steps that are proved wrong: see `first_wrong_step`.

    What `mtjax.data.mined.Mined` leaves out by default is left out: verdicts that are unknown are never wrong. Raises
    InputError for a bad file.
    """
    about = _about(path)
    for mined in read_mined(path):
        known: dict[str, Any] = {"problem_id": mined.id, "question": mined.question, "answer": mined.answer, **about}
        if "solution" in kinds:
            yield from _pairs(mined, known, pairs_per_problem, seed)
        if "step" in kinds:
            yield from _steps(mined, known)


def _about(path: str) -> dict[str, Any]:
    """What the manifest beside the file says of the policy."""
    file = pathlib.Path(solutions_file(path)).parent / MANIFEST
    about: dict[str, Any] = {"generator": "sampling"}
    if file.is_file():
        try:
            settings = json.loads(file.read_text())["settings"]
            policy, decode = settings["policy"], settings["decode"]
            about |= {"model": policy.get("fingerprint") or policy["model"], "seed": settings["seed"]}
            about |= {"decode": {name: value for name, value in decode.items() if name != "kind"}}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"'{file}' cannot be read ({error!r:.100}); mine again, or move it away") from error
    return about


def _pairs(mined: MinedProblem, known: Mapping[str, Any], most: int | None, seed: int) -> Iterator[Mistake]:
    reader = Mined(path="")
    drawn = lambda side: sorted(
        (solution for solution in mined.solutions if reader.side_of(solution) == side),
        key=lambda solution: unit(seed, mined.number, side, solution.text),
    )
    right, wrong = drawn("right"), drawn("wrong")
    for number, solution in enumerate(wrong[:most] if right else ()):
        states = stated_answer(solution.text) is not None  # its last number may be any
        yield Mistake(
            id=f"{mined.id}:{mined.number}/solution/{number}",
            kind="solution",
            right_step=right[number % len(right)].text.strip(),
            wrong_step=solution.text.strip(),
            wrong_answer=solution.answer or "",
            error_type=_error_type(mined.question, solution),
            verdict="proved" if states else "unproved",
            judge="final answer" if states else "",
            **known,
        )


def _error_type(question: str, solution: Solution) -> str:
    step = first_wrong_step(question, solution.text)
    return step.error_type if step else "other"


def _steps(mined: MinedProblem, known: Mapping[str, Any]) -> Iterator[Mistake]:
    seen: set[tuple[str, str]] = set()
    for solution in mined.solutions:
        usable = solution.finished and solution.readable and solution.verdict != "unknown"
        step = first_wrong_step(mined.question, solution.text) if usable else None
        if step is None or (step.prefix, step.wrong_step) in seen:
            continue
        seen.add((step.prefix, step.wrong_step))
        yield Mistake(
            id=f"{mined.id}:{mined.number}/step/{len(seen) - 1}",
            kind="step",
            wrong_answer=solution.answer or "",
            verdict="proved",
            edit_distance=levenshtein(step.right_step, step.wrong_step),
            **step._asdict(),
            **known,
        )


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
    match = _STEP.fullmatch(step)
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
