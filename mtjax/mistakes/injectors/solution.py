"""A parsed right solution, and how it continues after an injected error."""

import dataclasses
import functools
import re
from bisect import bisect_left
from fractions import Fraction
from typing import NamedTuple

from mtjax.data.expressions import Expression, exact_steps, parse_question, solution_text
from mtjax.mistakes.injectors.propagation import Edit, Flow, recompute, rewrite
from mtjax.mistakes.text.equations import Equation, equations
from mtjax.mistakes.text.known_numbers import known_numbers
from mtjax.mistakes.text.lexer import Token, number_of, numbers_in
from mtjax.mistakes.text.question import asked, stem

_HEADER = re.compile(r"^(?P<step>Step [0-9]{1,3}[:.])|^(?P<answer>(?:Answer|A):|####)", re.MULTILINE)
Changed = tuple[str, str | None]  # A wrong step, and how the solution continues; None if that is not certain.


class StepSpan(NamedTuple):
    """Where one step is in a solution."""

    line: int  # Start of its header, or of its text if it has none.
    start: int  # Start of its text. White space before a digit belongs to the header, before a letter to the text.
    end: int  # One after its last character that is not white space.
    answer: bool  # Whether it is the line that states the final answer.


def split_steps(solution: str) -> list[StepSpan]:
    r"""The steps of a solution, in order; none for a blank text.

    If a line starts with `Step 1:`, steps extend from one header to the next (`Step k:`, `Answer:`, `A:`, `####`), and
    the text before the first is not a step. Otherwise every line that is not blank is a step.

    >>> text = "Step 1: 2 + 3 = 5\nAnswer: 5"
    >>> [text[step.start : step.end] for step in split_steps(text)]
    ['2 + 3 = 5', '5']
    """
    headers = {match.start(): match for match in _HEADER.finditer(solution)}
    if any(match["step"] for match in headers.values()):
        lines = list(zip(headers, [*list(headers)[1:], len(solution)], strict=True))
    else:
        lines = [match.span() for match in re.finditer(r"(?m)^[^\n]*\S[^\n]*$", solution)]
    steps = []
    for line, end in lines:
        header = headers.get(line)
        end = line + len(solution[line:end].rstrip())
        start = min(header.end(), end) if header else line
        space = re.match(r"\s+(?=[0-9])", solution[start:end])
        steps.append(StepSpan(line, start + len(space[0] if space else ""), end, bool(header and header["answer"])))
    return steps


class Draft(NamedTuple):
    """A wrong step in place of a right one, not yet judged."""

    type: str  # A registered error type, or "other".
    start: int  # Start of the right step in the solution; the text before it is the prefix.
    end: int  # One after its last character.
    wrong: str  # The wrong step.
    rest: str | None  # How the solution continues with the error carried forward; None if that is not certain.


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """A right solution with its steps, equations and numbers. What is derived from them is worked out once."""

    question: str  # The text of the problem.
    stem: str  # The question without its answer options, whose numbers are no numbers of the problem.
    text: str  # The solution.
    steps: list[StepSpan]  # Where its steps are.
    equations: list[list[Equation]]  # The true equations of each step; positions count from the step's text.
    numbers: list[Token]  # All numbers of the solution except those in headers, in order.
    given: frozenset[Fraction]  # The question's numbers, in digits and in words.
    digits: int  # Most digits before a point. New numbers have no more: their size would give the edit away.
    expressions: tuple[Expression, ...]  # For generated arithmetic, what is left to compute before each step.

    def step_text(self, k: int) -> str:
        """The text of step k, without its header."""
        return self.text[self.steps[k].start : self.steps[k].end]

    @functools.cached_property
    def commas(self) -> bool:
        """Whether the solution writes thousands separators."""
        return any("," in token.text for token in self.numbers)

    @functools.cached_property
    def targets(self) -> list[tuple[int, Equation]]:
        """Every true equation with the number of its step."""
        return [(k, equation) for k, found in enumerate(self.equations) for equation in found]

    @functools.cached_property
    def copies(self) -> list[tuple[int, int, str, Equation | None]]:
        """The numbers of the question, of an earlier step or of the last result that a step has, and no result is.

        Each with the number of its step, its place in the step's text, and the equation that it is part of.
        """
        found = []
        for k, step in enumerate(self.steps):
            results = {equation.right.start for equation in self.equations[k]}
            for token in self.numbers[slice(*(bisect_left(self._starts, place) for place in (step.start, step.end)))]:
                at, first = token.start - step.start, self._first.get(number_of(token), step.start)
                if at not in results and (first < step.start or number_of(token) in self.given):
                    own = next((each for each in self.equations[k] if each.start <= at < each.end), None)
                    found.append((k, at, token.text, own))
        return found

    def before(self, place: int) -> frozenset[Fraction]:
        """The numbers of the question and of the solution before a place."""
        if place not in self._before:
            self._before[place] = self.given.union(number for number, first in self._first.items() if first < place)
        return self._before[place]

    @functools.cached_property
    def _starts(self) -> list[int]:
        """Where each number stands, in order."""
        return [token.start for token in self.numbers]

    @functools.cached_property
    def _first(self) -> dict[Fraction, int]:
        """Where each value stands first."""
        return {number_of(token): token.start for token in reversed(self.numbers)}

    @functools.cached_property
    def _before(self) -> dict[int, frozenset[Fraction]]:
        return {}

    def draft(self, type: str, k: int, changed: Changed | None) -> Draft | None:
        """The draft that replaces step k; None if `changed` is None."""
        return None if changed is None else Draft(type, self.steps[k].start, self.steps[k].end, *changed)

    def flow(self, changes: dict[Fraction, Fraction], place: int) -> Flow:
        """The flow that carries `changes` on from a place of the solution."""
        return Flow(dict(changes), set(self.before(place)), self.digits, self.commas)


@functools.lru_cache(maxsize=256)
def parse_solution(question: str, solution: str, answer: str | None = None) -> Solution:
    """A solution with its steps, numbers and equations.

    `answer` is the question's gold answer; answer options that do not hold it are part of the question's text.
    """
    bare = asked(question).stem if answer is None else stem(question, answer)
    steps = split_steps(solution)
    found = [[e for e in equations(solution[s.start : s.end]) if e.true] for s in steps]
    headers = {place for step in steps for place in range(step.line, step.start)}
    numbers = [token for token in numbers_in(solution) if token.start not in headers]
    sizes = [len(t.text.replace(",", "").partition(".")[0]) for t in (*numbers, *numbers_in(bare))]
    expression, left = parse_question(question), []
    if expression is not None and solution.strip() == solution_text(exact_steps(expression)):
        for step in exact_steps(expression):
            left.append(expression)
            expression = expression.after(step.value)
    given = known_numbers(bare)
    return Solution(question, bare, solution, steps, found, numbers, given, max(sizes, default=1), tuple(left))


def exact_rest(solution: Solution, k: int, expression: Expression) -> str | None:
    """How generated arithmetic continues with step k (from 0) on this expression; None if a value does not fit."""
    if not expression.operators:
        return f"\nAnswer: {expression.operands[0]}"
    steps = exact_steps(expression)
    if not all(0 <= step.value < 10**solution.digits for step in steps):
        return None
    *body, answer = solution_text(steps).split("\n")
    lines = [f"Step {k + n}: {line.partition(': ')[2]}" for n, line in enumerate(body, 1)]
    return "".join("\n" + line for line in [*lines, answer])


def exact_step(solution: Solution, k: int, expression: Expression) -> Changed | None:
    """Step k (from 0) of generated arithmetic computed on another expression, and what follows."""
    rest = exact_rest(solution, k, expression)
    if rest is None:
        return None
    step, newline, after = rest.partition(": ")[2].partition("\n")
    return step, newline + after


def change_equation(
    solution: Solution, k: int, equation: Equation, edits: list[Edit], right: str | None = None,
    *, follow: bool = False,
) -> Changed | None:  # fmt: skip
    """Step k (from 0) with edits on the left side of one of its true equations; None if it would not read well.

    The number on the right becomes `right`; with `follow` it is computed from the changed left side.
    """
    text, step, old = solution.step_text(k), solution.steps[k], equation.value
    if follow:
        new = recompute(text, equation, edits, solution.digits, "," in solution.text)
    else:
        new = rewrite(text, equation, edits, right)
    if new is None:
        return None
    stretch, value = new[0], new[1].value
    if value == old:
        return text[: equation.start] + stretch + text[equation.end :], solution.text[step.end :]
    if any(number_of(token) == old for token in numbers_in(text[: equation.start])):
        return None  # the result is stated before it is computed
    flow = solution.flow({}, step.start + equation.right.start)
    flow.note(old, value)
    tail = flow.advance(text[equation.end :])
    if tail is None:
        return None
    wrong = text[: equation.start] + stretch + tail
    return wrong, rest_after(solution, k, wrong, flow)


def rest_after(solution: Solution, k: int, wrong: str, flow: Flow) -> str | None:
    """How the solution continues after a wrong step k; None if that is not certain."""
    if k >= len(solution.expressions):
        return flow.advance(solution.text[solution.steps[k].end :])
    found = equations(wrong)
    if not found or found[-1].value.denominator != 1:
        return None
    return exact_rest(solution, k + 1, solution.expressions[k].after(int(found[-1].value)))


def follow_edit(solution: Solution, k: int, wrong: str) -> str | None:
    """How the solution continues after a step that a model rewrote; None if that is not certain.

    The rewritten step must have as many equations as the right one; results that differ are carried on.
    """
    before, after = equations(solution.step_text(k)), equations(wrong)
    if len(before) != len(after) or not before or not all(equation.true for equation in before):
        return None
    flow = solution.flow({}, solution.steps[k].start + before[0].right.start)
    for old, new in zip(before, after, strict=True):
        flow.note(old.value, new.value)
    return rest_after(solution, k, wrong, flow)
