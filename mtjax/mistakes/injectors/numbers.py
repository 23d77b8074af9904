"""Errors in one equation: values, operators, terms and carries."""

import random
from collections.abc import Callable
from fractions import Fraction

from mtjax.mistakes.injectors.propagation import readings, rewrite, write_number
from mtjax.mistakes.injectors.solution import Draft, Worked, change_equation, exact_rest, rest_after
from mtjax.mistakes.text.equations import Equation
from mtjax.mistakes.text.lexer import Token, decimals, number_of, numbers_in, sign_of


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


def _target(worked: Worked, rng: random.Random) -> tuple[int, Equation] | None:
    return rng.choice(worked.targets) if worked.targets else None


def _draft(type: str, worked: Worked, k: int, changed: tuple[str, str | None] | None) -> Draft | None:
    step = worked.steps[k]
    return None if changed is None else Draft(type, step.start, step.end, *changed)


def value(worked: Worked, rng: random.Random) -> Draft | None:
    """Another result, or another operand with the result left: the equation is false."""
    target = _target(worked, rng)
    if target is None:
        return None
    k, equation = target
    token = equation.right if rng.random() < 0.75 else rng.choice(equation.operands)
    new = perturbed(rng, token.text, worked.digits)
    if new is None:
        return None
    if token is equation.right:
        return _draft("value", worked, k, change_equation(worked, k, equation, [], new))
    return _draft("value", worked, k, change_equation(worked, k, equation, [(token.start, token.end, new)]))


def value_series(worked: Worked, rng: random.Random) -> Draft | None:
    """Another operand, and all that follows from it in the step: the equations are true, the number is not ours."""
    target = _target(worked, rng)
    if target is None:
        return None
    k, equation = target
    token = rng.choice(equation.operands)
    new = perturbed(rng, token.text, worked.digits)
    if new is None:
        return None
    old = number_of(token)
    flow = worked.flow({old: Fraction(new.replace(",", ""))}, worked.steps[k].start)
    flow.unsure.discard(old)
    wrong = flow.advance(worked.step_text(k))
    if wrong is None:
        return None
    flow.changes.pop(old, None)  # the next step reads the question again
    flow.unsure |= {number_of(token) for token in numbers_in(worked.step_text(k))} - flow.changes.keys()
    return _draft("value_series", worked, k, (wrong, rest_after(worked, k, wrong, flow)))


def _replace(
    type: str, worked: Worked, rng: random.Random, k: int, equation: Equation, edits: list[tuple[int, int, str]],
    share: float,
) -> Draft | None:  # fmt: skip
    """The edit with the result worked out anew (in `share` of the cases, where it can be) or left."""
    changed = None
    if rng.random() < share:
        changed = change_equation(worked, k, equation, edits, recompute=True)
    return _draft(type, worked, k, changed or change_equation(worked, k, equation, edits))


def _style(worked: Worked, sign: str, like: Token) -> str:
    """How the solution writes an operator."""
    written = [token.text for _, equation in worked.targets for token in equation.operators if sign_of(token) == sign]
    return next((text for text in written if text != "of"), sign if like.text != "–" or sign != "-" else "–")


def operator(worked: Worked, rng: random.Random) -> Draft | None:
    """Another operator; the result is left, or follows."""
    target = _target(worked, rng)
    if target is None:
        return None
    k, equation = target
    token = rng.choice(equation.operators)
    # Generated arithmetic keeps to the signs it has: another would be seen at a glance.
    known = {sign_of(t) for _, e in worked.targets for t in e.operators} | set("+-")
    choices = [sign for sign in "+-*/" if sign != sign_of(token) and (sign in known or not worked.expressions)]
    if token.text == "of":
        return None
    new = _style(worked, rng.choice(choices), token)
    if new == "x" and worked.step_text(k)[token.start - 1] != " ":
        new = "*"
    return _replace("operator", worked, rng, k, equation, [(token.start, token.end, new)], 0.5)


def swap(worked: Worked, rng: random.Random) -> Draft | None:
    """Two operands change places where that changes the value; the result is left, or follows."""
    target = _target(worked, rng)
    if target is None:
        return None
    k, equation = target
    i, j = sorted(rng.sample(range(len(equation.operands)), 2))
    a, b = equation.operands[i], equation.operands[j]
    edits = [(a.start, a.end, b.text), (b.start, b.end, a.text)]
    new = rewrite(worked.step_text(k), equation, edits)
    if new is None or new[1].values == equation.values:
        return None
    return _replace("swap", worked, rng, k, equation, edits, 0.5)


def dropped_term(worked: Worked, rng: random.Random) -> Draft | None:
    """A term left out: of three or more in one expression, or of generated arithmetic, whose later steps go without."""
    if worked.expressions:
        return _dropped_operand(worked, rng)
    target = _target(worked, rng)
    if target is None or len(target[1].operands) < 3:
        return None
    k, equation = target
    parts = equation.tokens
    signs = [n for n, token in enumerate(parts) if token.kind == "operator"]
    n = rng.randrange(len(signs))
    text = worked.step_text(k)
    start, end = parts[signs[n]].start, parts[signs[n + 1]].start if n + 1 < len(signs) else 0
    if not end:  # the last term goes with the white space in front of it
        start, end = len(text[:start].rstrip()), len(text[: text.rfind("=", 0, equation.right.start)].rstrip())
    edit = (start, end, "")
    return _replace("dropped_term", worked, rng, k, equation, [edit], 0.5)


def _dropped_operand(worked: Worked, rng: random.Random) -> Draft | None:
    """A step that takes up the next operand but one: `19 + 3` where `19 - 5`, then `+ 3` was due."""
    k = rng.randrange(len(worked.expressions))
    expression, step = worked.expressions[k], worked.steps[k]
    i = expression.next_step
    at = rng.choice((i, i + 1))  # which operand of the step is lost, with the operator beside it
    sign = max(at - 1, 0)
    shorter = expression._replace(
        operands=expression.operands[:at] + expression.operands[at + 1 :],
        operators=expression.operators[:sign] + expression.operators[sign + 1 :],
    )
    rest = exact_rest(worked, k, shorter) if shorter.operators else None
    if rest is None:
        return None
    wrong, found, tail = rest.partition(": ")[2].partition("\n")
    return Draft("dropped_term", step.start, step.end, wrong, found + tail)


def substitution(worked: Worked, rng: random.Random) -> Draft | None:
    """An operand replaced by another number of the question or of an earlier step; the result is left, or follows."""
    target = _target(worked, rng)
    if target is None:
        return None
    k, equation = target
    token = rng.choice(equation.operands)
    here = worked.steps[k].start
    others = [t.text for t in worked.numbers if t.start < here] + [t.text for t in numbers_in(worked.question)]
    others += [t.text for t in equation.operands]
    choices = sorted({text for text in others if text.replace(",", "") != token.text.replace(",", "")})
    if not choices:
        return None
    return _replace("substitution", worked, rng, k, equation, [(token.start, token.end, rng.choice(choices))], 0.65)


def carry(worked: Worked, rng: random.Random) -> Draft | None:
    """A carry or borrow forgotten, or one too many, in a sum, difference or product."""
    target = _target(worked, rng)
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
    right = write_number(Fraction(new, 10**places), equation.right.text, digits=worked.digits)
    return None if right is None else _draft("carry", worked, k, change_equation(worked, k, equation, [], right))


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


def copied_number(worked: Worked, rng: random.Random) -> Draft | None:
    """A number of the question, of an earlier step or of the last result, copied wrong, with what follows from it."""
    choices = []
    for k, step in enumerate(worked.steps):
        known = worked.before(step.start)
        rights = {step.start + equation.right.start for equation in worked.equations[k]}
        inside = [t for t in worked.numbers if step.start <= t.start < step.end and t.start not in rights]
        spots = [range(step.start + e.start, step.start + e.end) for e in worked.equations[k]]
        for token in inside:
            if number_of(token) in known:  # one that is reckoned with is the likelier slip, and can be followed
                choices += [(k, token)] * (3 if any(token.start in spot for spot in spots) else 1)
    if not choices:
        return None
    k, token = rng.choice(choices)
    new = perturbed(rng, token.text, worked.digits)
    if new is None:
        return None
    step, at = worked.steps[k], token.start - worked.steps[k].start
    equation = next((e for e in worked.equations[k] if e.start <= at < e.end), None)
    if equation is not None:
        edits = [(at, at + len(token.text), new)]
        return _draft("copied_number", worked, k, change_equation(worked, k, equation, edits, recompute=True))
    text = worked.step_text(k)
    wrong = text[:at] + new + text[at + len(token.text) :]
    return _draft("copied_number", worked, k, (wrong, worked.text[step.end :]))


NUMBER_ERRORS: dict[str, Callable[[Worked, random.Random], Draft | None]] = {
    "value": value,
    "value_series": value_series,
    "operator": operator,
    "swap": swap,
    "dropped_term": dropped_term,
    "substitution": substitution,
    "carry": carry,
    "copied_number": copied_number,
}
"""Injectors by type: `(solution, generator) -> draft`, or None where this draw finds no place."""
