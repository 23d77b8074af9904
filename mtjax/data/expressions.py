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


class Step(NamedTuple):
    """One equation `left operator right = value`, true or not."""

    left: int
    operator: str
    right: int
    value: int

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.value}"


class Expression(NamedTuple):
    """Numbers with an operator between each two."""

    operands: tuple[int, ...]  # at least one
    operators: tuple[str, ...]  # "+", "-" or "*", one fewer than operands

    @property
    def question(self) -> str:
        """The text of the problem, `12 + 7 - 5 =`."""
        rest = "".join(f" {operator} {b}" for operator, b in zip(self.operators, self.operands[1:], strict=True))
        return f"{self.operands[0]}{rest} ="

    @property
    def sums_first(self) -> bool:
        """Whether no `+` stands after a `-`; products may stand anywhere.

        >>> Expression((9, 2, 3), ("+", "-")).sums_first, Expression((9, 2, 3), ("-", "+")).sums_first
        (True, False)
        """
        signs = [operator for operator in self.operators if operator != "*"]
        return signs == sorted(signs, key="+-".index)

    @property
    def next_step(self) -> int:
        """The number of the operator to work out next: the first product, or else the first of all."""
        return self.operators.index("*") if "*" in self.operators else 0

    @property
    def step(self) -> Step:
        """The next step, exact."""
        i = self.next_step
        left, operator, right = self.operands[i], self.operators[i], self.operands[i + 1]
        return Step(left, operator, right, apply(left, operator, right))

    def after(self, value: int) -> "Expression":
        """What is left when the next step has given `value`."""
        i = self.next_step
        operands = (*self.operands[:i], value, *self.operands[i + 2 :])
        return Expression(operands, (*self.operators[:i], *self.operators[i + 1 :]))


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
        steps.append(expression.step)
        expression = expression.after(steps[-1].value)
    return steps


def solution_text(steps: list[Step]) -> str:
    """Steps and the answer, which is the value of the last one, as text."""
    lines = [f"Step {k}: {step}" for k, step in enumerate(steps, 1)]
    return "\n".join([*lines, f"Answer: {steps[-1].value}"])


def dropped_carry(left: int, operator: str, right: int) -> int:
    """The value when every carry or borrow is forgotten: 12 + 19 -> 21, 31 - 19 -> 22, digit by digit, modulo 10.

    Exact for products, with a negative number, and for a difference below 0.
    """
    if operator == "*" or min(left, right) < 0 or (operator == "-" and right > left):
        return apply(left, operator, right)
    places = (10**k for k in range(len(str(max(left, right)))))
    return sum(apply(left // place % 10, operator, right // place % 10) % 10 * place for place in places)


def slipped_steps(
    expression: Expression, rng: random.Random, probability: float, *, low: int = 0, high: int = 99
) -> list[Step]:
    """Steps in which each carry or borrow is dropped with this probability; later steps go on from the wrong value.

    A slip that would later leave `low..high` is not made. One number is drawn per step whether it can slip or not, so
    the steps of two probabilities share their draws.
    """
    steps = []
    while expression.operators:
        step = expression.step
        if rng.random() < probability:
            slipped = dropped_carry(step.left, step.operator, step.right)
            later = [after.value for after in exact_steps(expression.after(slipped))]
            if all(low <= value <= high for value in (slipped, *later)):
                step = step._replace(value=slipped)
        steps.append(step)
        expression = expression.after(step.value)
    return steps


def carry_slip(question: str, rng: random.Random, probability: float = 0.5, *, low: int = 0, high: int = 99) -> str:
    """`slipped_steps` of a question as text, which may be right by luck; InputError for a question of another form."""
    expression = parse_question(question)
    if expression is None:
        raise InputError(f"question {question!r:.80} is not generated arithmetic; expected the form '12 + 7 - 5 ='")
    return solution_text(slipped_steps(expression, rng, probability, low=low, high=high))
