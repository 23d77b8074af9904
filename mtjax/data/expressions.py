"""Arithmetic in steps: expressions, their exact solutions, and solutions with dropped carries.

A problem reads `12 + 7 - 5 =`; its solution reads

    Step 1: 12 + 7 = 19
    Step 2: 19 - 5 = 14
    Answer: 14

Products are taken first, then sums from the left, as usual.
"""

import random
import re
from typing import NamedTuple

from mtjax.errors import InputError


class Expression(NamedTuple):
    """Numbers with an operator between each two.

    Attributes:
        operands: the numbers, at least one.
        operators: "+", "-" or "*", one fewer than operands.
    """

    operands: tuple[int, ...]
    operators: tuple[str, ...]

    @property
    def question(self) -> str:
        """The text of the problem, `12 + 7 - 5 =`."""
        rest = "".join(f" {operator} {b}" for operator, b in zip(self.operators, self.operands[1:], strict=True))
        return f"{self.operands[0]}{rest} ="

    @property
    def next_step(self) -> int:
        """The operator to work out next: the first product, or else the first of all."""
        return self.operators.index("*") if "*" in self.operators else 0

    def after(self, value: int) -> "Expression":
        """What is left when the next step has given `value`."""
        i = self.next_step
        return Expression(
            (*self.operands[:i], value, *self.operands[i + 2 :]), (*self.operators[:i], *self.operators[i + 1 :])
        )


class Step(NamedTuple):
    """One equation `left operator right = value`, true or not."""

    left: int
    operator: str
    right: int
    value: int


def apply(left: int, operator: str, right: int) -> int:
    """The true value of one operation."""
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def parse_question(question: str) -> Expression | None:
    """The expression that a question's text asks for; None for any other text."""
    if not re.fullmatch(r"\s*[0-9]{1,9}( [-+*] [0-9]{1,9})+ =\s*", question):
        return None
    words = question.split()
    return Expression(tuple(map(int, words[:-1:2])), tuple(words[1:-1:2]))


def exact_steps(expression: Expression) -> list[Step]:
    """The true steps from an expression to its value."""
    steps = []
    while expression.operators:
        i = expression.next_step
        left, operator, right = expression.operands[i], expression.operators[i], expression.operands[i + 1]
        steps.append(Step(left, operator, right, apply(left, operator, right)))
        expression = expression.after(steps[-1].value)
    return steps


def solution_text(steps: list[Step]) -> str:
    """Steps and the answer, the value of the last one, as text."""
    lines = [f"Step {k}: {s.left} {s.operator} {s.right} = {s.value}" for k, s in enumerate(steps, 1)]
    return "\n".join([*lines, f"Answer: {steps[-1].value}"])


def dropped_carry(left: int, operator: str, right: int) -> int:
    """The value when every carry or borrow is forgotten: 12 + 19 -> 21, 31 - 19 -> 22; products are exact.

    Each digit is worked out alone, modulo 10. Needs both numbers non-negative, and `right <= left` for a difference;
    otherwise exact.
    """
    if operator == "*" or min(left, right) < 0 or (operator == "-" and right > left):
        return apply(left, operator, right)
    value, place, sign = 0, 1, 1 if operator == "+" else -1
    while place <= max(left, right):
        value += (left // place + sign * (right // place)) % 10 * place
        place *= 10
    return value


def slipped_steps(
    expression: Expression, rng: random.Random, probability: float, *, low: int = 0, high: int = 99
) -> list[Step]:
    """Steps in which each carry or borrow is dropped with this probability, and followed through in later steps.

    A slip that would later leave `low..high` is not made. One number is drawn per step whether it can slip or not, so
    the steps of two probabilities share their draws.
    """
    steps = []
    while expression.operators:
        i = expression.next_step
        left, operator, right = expression.operands[i], expression.operators[i], expression.operands[i + 1]
        value = apply(left, operator, right)
        if rng.random() < probability:
            slipped = dropped_carry(left, operator, right)
            later = [step.value for step in exact_steps(expression.after(slipped))]
            value = slipped if all(low <= v <= high for v in (slipped, *later)) else value
        steps.append(Step(left, operator, right, value))
        expression = expression.after(value)
    return steps


def carry_slip(question: str, rng: random.Random, probability: float = 0.5, *, low: int = 0, high: int = 99) -> str:
    """A solution of `question` with dropped carries: `slipped_steps` as text. It may be right by luck.

    Raises InputError when the question is not in the form of this module.
    """
    expression = parse_question(question)
    if expression is None:
        raise InputError(f"question {question!r:.80} is not generated arithmetic; expected the form '12 + 7 - 5 ='")
    return solution_text(slipped_steps(expression, rng, probability, low=low, high=high))
