"""Error types that change a calculation: its numbers, operators, order or terms."""

import random
from fractions import Fraction

from mtjax.mistakes.filters import FARTHEST, far_apart
from mtjax.mistakes.injectors.base import equation_error, error_type
from mtjax.mistakes.injectors.propagation import Edit, rewrite, write_number
from mtjax.mistakes.injectors.solution import Changed, Draft, Solution, change_equation, exact_step, rest_after
from mtjax.mistakes.text.equations import Equation
from mtjax.mistakes.text.lexer import decimals, number_of, numbers_in, sign_of


def perturbed(rng: random.Random, text: str, digits: int) -> str | None:
    """Another number, written alike: nudged, one digit changed, or two swapped.

    Positive, at most twice or half as large (small numbers: at most two off), and with at most `digits` digits before
    the point; None if this draw gives no such number.
    """
    whole = text.replace(",", "").replace(".", "").lstrip("0") or "0"
    way = rng.choice(("nudge", "nudge", "nudge", "digit", "digit", "digit", "tens", "tens", "swap"))
    at = rng.randrange(len(whole))
    new = int(whole)
    if way == "nudge":
        new += rng.choice((-1, 1)) * rng.randint(1, 9 if new > 9 else 3)
    elif way == "tens":
        new += rng.choice((-1, 1)) * rng.randint(1, 9) * 10 ** rng.randrange(1, max(len(whole), 2))
    elif way == "digit":
        new = int(whole[:at] + str(rng.randrange(10)) + whole[at + 1 :])
    else:
        new = int(whole[:at] + whole[at : at + 2][::-1] + whole[at + 2 :])
    if new <= 0 or new == int(whole) or far_apart(Fraction(new), Fraction(int(whole)), FARTHEST):
        return None
    return write_number(Fraction(new, 10 ** decimals(text)), text, digits=digits)


@equation_error("value", share=0.24, order=0)
def value(solution: Solution, rng: random.Random, k: int, equation: Equation) -> Changed | None:
    """Another result, or another operand with the result left: the equation is false."""
    token = equation.right if rng.random() < 0.75 else rng.choice(equation.operands)
    new = perturbed(rng, token.text, solution.digits)
    if new is None:
        return None
    if token is equation.right:
        return change_equation(solution, k, equation, [], new)
    return change_equation(solution, k, equation, [(token.start, token.end, new)])


@equation_error("value_series", share=0.08, order=1)
def value_series(solution: Solution, rng: random.Random, k: int, equation: Equation) -> Changed | None:
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
def copied_number(solution: Solution, rng: random.Random) -> Draft | None:
    """A number of the question, of an earlier step or of the last result, copied wrong, with what follows from it."""
    # A number in an equation is the likelier slip, and can be followed.
    choices = [copy for copy in solution.copies for _ in range(3 if copy[3] else 1)]
    if not choices:
        return None
    k, at, old, equation = rng.choice(choices)
    new = perturbed(rng, old, solution.digits)
    if new is None:
        return None
    if equation is not None:
        changed = change_equation(solution, k, equation, [(at, at + len(old), new)], follow=True)
        return solution.draft("copied_number", k, changed)
    text = solution.step_text(k)
    wrong = text[:at] + new + text[at + len(old) :]
    return solution.draft("copied_number", k, (wrong, solution.text[solution.steps[k].end :]))


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
def carry(solution: Solution, rng: random.Random, k: int, equation: Equation) -> Changed | None:
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


def _change(
    solution: Solution, rng: random.Random, k: int, equation: Equation, edits: list[Edit], share: float = 0.5
) -> Changed | None:
    """The edits with the result recomputed (in `share` of the cases, if possible) or left."""
    changed = change_equation(solution, k, equation, edits, follow=True) if rng.random() < share else None
    return changed or change_equation(solution, k, equation, edits)


@equation_error("operator", share=0.11, order=2)
def operator(solution: Solution, rng: random.Random, k: int, equation: Equation) -> Changed | None:
    """Another operator; the result is left, or follows."""
    token = rng.choice(equation.operators)
    written = [token for _, equation in solution.targets for token in equation.operators]
    # Generated arithmetic keeps to the signs it has: another would give the edit away.
    known = {sign_of(token) for token in written} | set("+-")
    choices = [sign for sign in "+-*/" if sign != sign_of(token) and (sign in known or not solution.expressions)]
    if token.text == "of":
        return None
    sign = rng.choice(choices)
    default = "–" if token.text == "–" and sign == "-" else sign
    new = next((other.text for other in written if sign_of(other) == sign and other.text != "of"), default)
    if new == "x" and solution.step_text(k)[token.start - 1] != " ":
        new = "*"
    return _change(solution, rng, k, equation, [(token.start, token.end, new)])


@equation_error("swap", share=0.05, order=3)
def swap(solution: Solution, rng: random.Random, k: int, equation: Equation) -> Changed | None:
    """Two operands change places where that changes the value; the result is left, or follows."""
    i, j = sorted(rng.sample(range(len(equation.operands)), 2))
    a, b = equation.operands[i], equation.operands[j]
    edits = [(a.start, a.end, b.text), (b.start, b.end, a.text)]
    new = rewrite(solution.step_text(k), equation, edits)
    if new is None or new[1].values == equation.values:
        return None
    return _change(solution, rng, k, equation, edits)


@error_type("dropped_term", share=0.05, order=4)
def dropped_term(solution: Solution, rng: random.Random) -> Draft | None:
    """A term left out: of three or more in one expression, or of generated arithmetic, whose later steps go without."""
    if solution.expressions:
        return _dropped_operand(solution, rng)
    k, equation = rng.choice(solution.targets) if solution.targets else (0, None)
    if equation is None or len(equation.operands) < 3:
        return None
    n = rng.randrange(len(equation.operators))
    text, start = solution.step_text(k), equation.operators[n].start
    if n + 1 < len(equation.operators):
        end = equation.operators[n + 1].start
    else:  # the last term goes with the white space before it
        start, end = len(text[:start].rstrip()), len(text[: text.rfind("=", 0, equation.right.start)].rstrip())
    return solution.draft("dropped_term", k, _change(solution, rng, k, equation, [(start, end, "")]))


def _dropped_operand(solution: Solution, rng: random.Random) -> Draft | None:
    """A step that takes the next operand but one: `19 + 3` where `19 - 5`, then `+ 3` is right."""
    k = rng.randrange(len(solution.expressions))
    operands, operators = solution.expressions[k]
    at = rng.choice((solution.expressions[k].next_step, solution.expressions[k].next_step + 1))
    sign = max(at - 1, 0)  # the operator beside the operand that is lost
    shorter = solution.expressions[k]._replace(
        operands=operands[:at] + operands[at + 1 :], operators=operators[:sign] + operators[sign + 1 :]
    )
    changed = exact_step(solution, k, shorter) if shorter.operators else None
    return solution.draft("dropped_term", k, changed)


@equation_error("substitution", share=0.11, order=5)
def substitution(solution: Solution, rng: random.Random, k: int, equation: Equation) -> Changed | None:
    """An operand replaced by another number of the question or of an earlier step; the result is left, or follows."""
    token = rng.choice(equation.operands)
    earlier = [other for other in solution.numbers if other.start < solution.steps[k].start]
    others = {other.text for other in (*earlier, *numbers_in(solution.stem), *equation.operands)}
    choices = sorted(text for text in others if text.replace(",", "") != token.text.replace(",", ""))
    if not choices:
        return None
    return _change(solution, rng, k, equation, [(token.start, token.end, rng.choice(choices))], 0.65)
