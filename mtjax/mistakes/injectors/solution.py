"""A right solution taken apart, and what an injected error makes of it."""

from fractions import Fraction
from typing import NamedTuple

from mtjax.data.expressions import Expression, exact_steps, parse_question, solution_text
from mtjax.mistakes.injectors.propagation import Flow, readings, rewrite, write_number
from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.known_numbers import known_numbers
from mtjax.mistakes.text.lexer import Token, number_of, numbers_in
from mtjax.mistakes.text.steps import StepSpan, split_steps


class ParsedSolution(NamedTuple):
    """A right solution, taken apart.

    Attributes:
        question: the text of the problem.
        text: the solution.
        steps: where its steps stand.
        equations: of each step, those that are true; positions count from the step's text.
        numbers: all numbers of the solution but those in headers, in order.
        given: the question's numbers, in digits and in words.
        digits: most digits in front of a point in question and solution. New numbers have no more: a number of
            another size than any beside it would give the edit away.
        expressions: of generated arithmetic, what is still to be worked out before each step; empty otherwise.
    """

    question: str
    text: str
    steps: list[StepSpan]
    equations: list[list[Equation]]
    numbers: list[Token]
    given: frozenset[Fraction]
    digits: int
    expressions: tuple[Expression, ...]

    def step_text(self, k: int) -> str:
        """The text of step k, without its header."""
        return self.text[self.steps[k].start : self.steps[k].end]

    @property
    def commas(self) -> bool:
        """Whether the solution writes thousands separators."""
        return any("," in token.text for token in self.numbers)

    @property
    def targets(self) -> list[tuple[int, Equation]]:
        """Every true equation with the number of its step."""
        return [(k, equation) for k, found in enumerate(self.equations) for equation in found]

    def before(self, place: int) -> set[Fraction]:
        """The numbers of the question, and those that stand in front of a place of the solution."""
        return {number_of(token) for token in self.numbers if token.start < place} | self.given

    def flow(self, changes: dict[Fraction, Fraction], place: int) -> Flow:
        """The flow that carries `changes` on from a place of the solution."""
        return Flow(dict(changes), self.before(place), self.digits, self.commas)


class Draft(NamedTuple):
    """A wrong step in place of a right one, before anybody judged it.

    Attributes:
        type: the name of a registered error type, or "other".
        start: where the right step starts in the solution; what stands before is the prefix.
        end: one behind its last character.
        wrong: the wrong step.
        rest: how the solution goes on with the error carried forward; None where that cannot be said.
    """

    type: str
    start: int
    end: int
    wrong: str
    rest: str | None


def parse_solution(question: str, solution: str) -> ParsedSolution:
    """A solution with its steps, numbers and equations."""
    steps = split_steps(solution)
    found = [[e for e in equations(solution[s.start : s.end]) if e.true] for s in steps]
    headers = {place for step in steps for place in range(step.line, step.start)}
    numbers = [token for token in numbers_in(solution) if token.start not in headers]
    sizes = [len(t.text.replace(",", "").partition(".")[0]) for t in (*numbers, *numbers_in(question))]
    expression, left = parse_question(question), []
    if expression is not None and solution.strip() == solution_text(exact_steps(expression)):
        for step in exact_steps(expression):
            left.append(expression)
            expression = expression.after(step.value)
    return ParsedSolution(
        question, solution, steps, found, numbers, known_numbers(question), max(sizes, default=1), tuple(left)
    )


def exact_rest(solution: ParsedSolution, k: int, expression: Expression) -> str | None:
    """How generated arithmetic goes on with step k (from 0) on this expression; None where a value does not fit."""
    if not expression.operators:
        return f"\nAnswer: {expression.operands[0]}"
    steps = exact_steps(expression)
    if not all(0 <= step.value < 10**solution.digits for step in steps):
        return None
    lines = solution_text(steps).split("\n")
    body = [f"Step {k + n}: {line.partition(': ')[2]}" for n, line in enumerate(lines[:-1], 1)]
    return "".join("\n" + line for line in [*body, lines[-1]])


def change_equation(
    solution: ParsedSolution, k: int, equation: Equation, edits: list[tuple[int, int, str]], right: str | None = None,
    *, recompute: bool = False,
) -> tuple[str, str | None] | None:  # fmt: skip
    """Step k with one equation changed, and how the solution goes on; None where the step would not read well.

    Args:
        solution: the solution.
        k: number of the step, from 0.
        equation: one of its true equations.
        edits: `(start, end, new)` on the equation's left side.
        right: a new number on its right.
        recompute: take the number on the right from the changed left side.
    """
    text, step = solution.step_text(k), solution.steps[k]
    new = rewrite(text, equation, edits, right)
    if recompute and new is not None:
        reading = readings(equation)
        value = new[1].values[reading[0]] if reading else None
        if reading is None or value is None:
            return None
        right = write_number(
            value * reading[1], equation.right.text, digits=solution.digits, commas="," in solution.text
        )
        new = rewrite(text, equation, edits, right) if right is not None else None
    if new is None:
        return None
    old, value = equation.value, new[1].value
    if value == old:
        return text[: equation.start] + new[0] + text[equation.end :], solution.text[step.end :]
    if any(number_of(token) == old for token in numbers_in(text[: equation.start])):
        return None  # the result is told before it is worked out
    flow = solution.flow({old: value}, step.start + equation.right.start)
    flow.latest[old] = value
    tail = flow.advance(text[equation.end :])
    if tail is None:
        return None
    wrong = text[: equation.start] + new[0] + tail
    return wrong, rest_after(solution, k, wrong, flow)


def rest_after(solution: ParsedSolution, k: int, wrong: str, flow: Flow) -> str | None:
    """How the solution goes on behind a wrong step k; None where that cannot be said."""
    if not solution.expressions or k >= len(solution.expressions):
        return flow.advance(solution.text[solution.steps[k].end :])
    found = equations(wrong)
    if not found or found[-1].value.denominator != 1:
        return None
    return exact_rest(solution, k + 1, solution.expressions[k].after(int(found[-1].value)))


def follow_edit(solution: ParsedSolution, k: int, wrong: str) -> str | None:
    """How the solution goes on behind a step that somebody else rewrote; None where that cannot be said.

    The rewritten step must have as many equations as the right one; results that differ are carried on.
    """
    before, after = equations(solution.step_text(k)), equations(wrong)
    if len(before) != len(after) or not before:
        return None
    flow = solution.flow({}, solution.steps[k].start + before[0].right.start)
    for old, new in zip(before, after, strict=True):
        if not old.true:
            return None
        flow.note(old.value, new.value)
    return rest_after(solution, k, wrong, flow)
