"""Error types that change a number: a wrong value, a series of wrong values, and a number copied wrong."""

import random
from fractions import Fraction

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, change_equation, rest_after
from mtjax.mistakes.text.equations import Equation
from mtjax.mistakes.text.lexer import decimals, number_of, numbers_in


def perturbed(rng: random.Random, text: str, digits: int) -> str | None:
    """Another number, written alike: nudged, one digit changed, two swapped, dropped or doubled, or ten times off.

    Positive, with at most `digits` digits in front of the point; None where this draw gives no such number.
    """
    places = decimals(text)
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
    value = Fraction(new, 10**places)
    if new <= 0 or new == int(whole) or (way != "size" and len(str(new)) < len(whole) and rng.random() < 0.5):
        return None
    return write_number(value, text, digits=digits)


def random_equation(solution: ParsedSolution, rng: random.Random) -> tuple[int, Equation] | None:
    """One of the true equations with the number of its step; None if there are none."""
    return rng.choice(solution.targets) if solution.targets else None


def step_draft(type: str, solution: ParsedSolution, k: int, changed: tuple[str, str | None] | None) -> Draft | None:
    """The draft that replaces step k by `changed`, a pair of step and rest; None if there is no change."""
    step = solution.steps[k]
    return None if changed is None else Draft(type, step.start, step.end, *changed)


@error_type("value", share=0.24, order=0)
def value(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """Another result, or another operand with the result left: the equation is false."""
    target = random_equation(solution, rng)
    if target is None:
        return None
    k, equation = target
    token = equation.right if rng.random() < 0.75 else rng.choice(equation.operands)
    new = perturbed(rng, token.text, solution.digits)
    if new is None:
        return None
    if token is equation.right:
        return step_draft("value", solution, k, change_equation(solution, k, equation, [], new))
    return step_draft("value", solution, k, change_equation(solution, k, equation, [(token.start, token.end, new)]))


@error_type("value_series", share=0.08, order=1)
def value_series(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """Another operand, and all that follows from it in the step: the equations are true, the number is not ours."""
    target = random_equation(solution, rng)
    if target is None:
        return None
    k, equation = target
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
    return step_draft("value_series", solution, k, (wrong, rest_after(solution, k, wrong, flow)))


@error_type("copied_number", share=0.10, order=8)
def copied_number(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A number of the question, of an earlier step or of the last result, copied wrong, with what follows from it."""
    choices = []
    for k, step in enumerate(solution.steps):
        known = solution.before(step.start)
        rights = {step.start + equation.right.start for equation in solution.equations[k]}
        inside = [t for t in solution.numbers if step.start <= t.start < step.end and t.start not in rights]
        spots = [range(step.start + e.start, step.start + e.end) for e in solution.equations[k]]
        for token in inside:
            if number_of(token) in known:  # one that is reckoned with is the likelier slip, and can be followed
                choices += [(k, token)] * (3 if any(token.start in spot for spot in spots) else 1)
    if not choices:
        return None
    k, token = rng.choice(choices)
    new = perturbed(rng, token.text, solution.digits)
    if new is None:
        return None
    step, at = solution.steps[k], token.start - solution.steps[k].start
    equation = next((e for e in solution.equations[k] if e.start <= at < e.end), None)
    if equation is not None:
        edits = [(at, at + len(token.text), new)]
        return step_draft("copied_number", solution, k, change_equation(solution, k, equation, edits, recompute=True))
    text = solution.step_text(k)
    wrong = text[:at] + new + text[at + len(token.text) :]
    return step_draft("copied_number", solution, k, (wrong, solution.text[step.end :]))
