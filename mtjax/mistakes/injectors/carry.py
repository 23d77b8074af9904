"""The error type `carry`: a carry or borrow between two digits is forgotten, or made where none is due."""

import random
from fractions import Fraction

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.numbers import random_equation, step_draft
from mtjax.mistakes.injectors.propagation import readings, write_number
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, change_equation
from mtjax.mistakes.text.lexer import decimals, number_of, sign_of


def carry_slips(numbers: list[int], sign: str) -> list[int]:
    """By how much a result is off when one carry (or borrow) is forgotten, or made where none is due.

    >>> carry_slips([17, 25], "+"), carry_slips([42, 17], "-")
    ([-10], [10])
    """
    slips = []
    size = max(len(str(abs(n))) for n in numbers)
    due = 0
    for place in range(size - 1 if sign != "*" else size):
        column = [n // 10**place % 10 for n in numbers]
        if sign == "+":
            due = (sum(column) + due) // 10
            slips.append(-due * 10 ** (place + 1) if due else 10 ** (place + 1))
        elif sign == "-":
            due = int(column[0] - sum(column[1:]) - due < 0)
            slips.append(10 ** (place + 1) if due else -(10 ** (place + 1)))
        elif column[0] * numbers[1] >= 10:
            slips += [10 ** (place + 1), -(10 ** (place + 1))]
    return slips


@error_type("carry", share=0.12, order=6)
def carry(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A carry or borrow forgotten, or one too many, in a sum, difference or product."""
    target = random_equation(solution, rng)
    if target is None:
        return None
    k, equation = target
    signs = {sign_of(token) for token in equation.operators}
    reading = readings(equation)
    if len(signs) != 1 or not signs <= set("+-*") or reading is None or len(equation.operands) > 4:
        return None
    places = max(decimals(token.text) for token in (*equation.operands, equation.right))
    whole = [int(number_of(token) * 10**places) for token in equation.operands]
    result = int(equation.value * 10**places)
    if len(str(result)) < 2 and max(whole) < 10:
        return None
    slips = carry_slips(whole, signs.pop())
    new = result + rng.choice(slips) if slips else 0
    if new <= 0:
        return None
    right = write_number(Fraction(new, 10**places), equation.right.text, digits=solution.digits)
    return (
        None if right is None else step_draft("carry", solution, k, change_equation(solution, k, equation, [], right))
    )
