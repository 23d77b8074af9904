"""Error types that change a number: a wrong value, a series of wrong values, a number copied wrong, a lost carry."""

import random
from fractions import Fraction

from mtjax.mistakes.injectors.base import equation_error, error_type
from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import (
    ChangedStep,
    Draft,
    ParsedSolution,
    change_equation,
    rest_after,
    step_draft,
)
from mtjax.mistakes.text.equations import Equation
from mtjax.mistakes.text.lexer import decimals, number_of, numbers_in, sign_of


def perturbed(rng: random.Random, text: str, digits: int) -> str | None:
    """Another number, written alike: nudged, one digit changed, two swapped, dropped or doubled, or ten times off.

    Positive, with at most `digits` digits before the point; None if this draw gives no such number.
    """
    whole = text.replace(",", "").replace(".", "").lstrip("0") or "0"
    way = rng.choice(("nudge", "nudge", "nudge", "digit", "digit", "digit", "tens", "tens", "swap", "size"))
    at = rng.randrange(len(whole))
    new = int(whole)
    if way == "nudge":
        new += rng.choice((-1, 1)) * rng.randint(1, 9 if new > 9 else 3)
    elif way == "tens":
        new += rng.choice((-1, 1)) * rng.randint(1, 9) * 10 ** rng.randrange(1, max(len(whole), 2))
    elif way == "digit":
        new = int(whole[:at] + str(rng.randrange(10)) + whole[at + 1 :])
    elif way == "swap":
        new = int(whole[:at] + whole[at : at + 2][::-1] + whole[at + 2 :])
    else:
        shorter = whole[:at] + whole[at + 1 :]
        new = int(rng.choice((shorter or "0", whole[:at] + whole[at] + whole[at:], whole + "0", whole[:-1] or "0")))
    if new <= 0 or new == int(whole) or (way != "size" and len(str(new)) < len(whole) and rng.random() < 0.5):
        return None
    return write_number(Fraction(new, 10 ** decimals(text)), text, digits=digits)


@equation_error("value", share=0.24, order=0)
def value(solution: ParsedSolution, rng: random.Random, k: int, equation: Equation) -> ChangedStep | None:
    """Another result, or another operand with the result left: the equation is false."""
    token = equation.right if rng.random() < 0.75 else rng.choice(equation.operands)
    new = perturbed(rng, token.text, solution.digits)
    if new is None:
        return None
    if token is equation.right:
        return change_equation(solution, k, equation, [], new)
    return change_equation(solution, k, equation, [(token.start, token.end, new)])


@equation_error("value_series", share=0.08, order=1)
def value_series(solution: ParsedSolution, rng: random.Random, k: int, equation: Equation) -> ChangedStep | None:
    """Another operand, and all that follows from it in the step: the equations are true, the number is not ours."""
    token = rng.choice(equation.operands)
    new = perturbed(rng, token.text, solution.digits)
    if new is None:
        return None
    old = number_of(token)
    flow = solution.flow({old: Fraction(new.replace(",", ""))}, solution.steps[k].start)
    flow.unsure.discard(old)
    wrong = flow.advance(solution.step_text(k))
    if wrong is None:
        return None
    flow.changes.pop(old, None)  # the next step reads the question again
    flow.unsure |= {number_of(token) for token in numbers_in(solution.step_text(k))} - flow.changes.keys()
    return wrong, rest_after(solution, k, wrong, flow)


@error_type("copied_number", share=0.10, order=8)
def copied_number(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A number of the question, of an earlier step or of the last result, copied wrong, with what follows from it."""
    choices = []
    for k, step in enumerate(solution.steps):
        known = solution.before(step.start)
        for token in solution.numbers:
            at = token.start - step.start
            results = (equation.right.start for equation in solution.equations[k])
            if not 0 <= at < step.end - step.start or at in results or number_of(token) not in known:
                continue
            equation = next((e for e in solution.equations[k] if e.start <= at < e.end), None)
            # A number in an equation is the likelier slip, and can be followed.
            choices += [(k, at, token.text, equation)] * (3 if equation else 1)
    if not choices:
        return None
    k, at, old, equation = rng.choice(choices)
    new = perturbed(rng, old, solution.digits)
    if new is None:
        return None
    if equation is not None:
        changed = change_equation(solution, k, equation, [(at, at + len(old), new)], follow=True)
        return step_draft("copied_number", solution, k, changed)
    text = solution.step_text(k)
    wrong = text[:at] + new + text[at + len(old) :]
    return step_draft("copied_number", solution, k, (wrong, solution.text[solution.steps[k].end :]))


def carry_slips(numbers: list[int], sign: str) -> list[int]:
    """How far a result is off when one carry (or borrow) is forgotten, or made without need.

    >>> carry_slips([17, 25], "+"), carry_slips([42, 17], "-")
    ([-10], [10])
    """
    slips = []
    size = max(len(str(abs(n))) for n in numbers)
    due = 0
    for place in range(size - 1 if sign != "*" else size):
        column, carried = [n // 10**place % 10 for n in numbers], 10 ** (place + 1)
        if sign == "+":
            due = (sum(column) + due) // 10
            slips.append(-due * carried if due else carried)
        elif sign == "-":
            due = int(column[0] - sum(column[1:]) - due < 0)
            slips.append(carried if due else -carried)
        elif column[0] * numbers[1] >= 10:
            slips += [carried, -carried]
    return slips


@equation_error("carry", share=0.12, order=6)
def carry(solution: ParsedSolution, rng: random.Random, k: int, equation: Equation) -> ChangedStep | None:
    """A carry or borrow forgotten, or one too many, in a sum, difference or product."""
    signs = {sign_of(token) for token in equation.operators}
    if len(signs) != 1 or not signs <= set("+-*") or len(equation.operands) > 4:
        return None
    unit = 10 ** max(decimals(token.text) for token in (*equation.operands, equation.right))
    whole = [int(number_of(token) * unit) for token in equation.operands]
    result = int(equation.value * unit)
    slips = carry_slips(whole, signs.pop())
    if not slips or (len(str(result)) < 2 and max(whole) < 10):
        return None
    new = result + rng.choice(slips)
    right = write_number(Fraction(new, unit), equation.right.text, digits=solution.digits) if new > 0 else None
    return None if right is None else change_equation(solution, k, equation, [], right)
