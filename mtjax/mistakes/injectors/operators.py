"""Error types that change the form of an equation: operators, order, terms and substituted operands."""

import random

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.numbers import random_equation, step_draft
from mtjax.mistakes.injectors.propagation import rewrite
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, change_equation, exact_rest
from mtjax.mistakes.text.equations import Equation
from mtjax.mistakes.text.lexer import Token, numbers_in, sign_of


def _replace(
    type: str, solution: ParsedSolution, rng: random.Random, k: int, equation: Equation,
    edits: list[tuple[int, int, str]], share: float,
) -> Draft | None:  # fmt: skip
    """The edit with the result worked out anew (in `share` of the cases, where it can be) or left."""
    changed = None
    if rng.random() < share:
        changed = change_equation(solution, k, equation, edits, recompute=True)
    return step_draft(type, solution, k, changed or change_equation(solution, k, equation, edits))


def _style(solution: ParsedSolution, sign: str, like: Token) -> str:
    """How the solution writes an operator."""
    written = [token.text for _, equation in solution.targets for token in equation.operators if sign_of(token) == sign]
    return next((text for text in written if text != "of"), sign if like.text != "–" or sign != "-" else "–")


@error_type("operator", share=0.11, order=2)
def operator(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """Another operator; the result is left, or follows."""
    target = random_equation(solution, rng)
    if target is None:
        return None
    k, equation = target
    token = rng.choice(equation.operators)
    # Generated arithmetic keeps to the signs it has: another would be seen at a glance.
    known = {sign_of(t) for _, e in solution.targets for t in e.operators} | set("+-")
    choices = [sign for sign in "+-*/" if sign != sign_of(token) and (sign in known or not solution.expressions)]
    if token.text == "of":
        return None
    new = _style(solution, rng.choice(choices), token)
    if new == "x" and solution.step_text(k)[token.start - 1] != " ":
        new = "*"
    return _replace("operator", solution, rng, k, equation, [(token.start, token.end, new)], 0.5)


@error_type("swap", share=0.05, order=3)
def swap(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """Two operands change places where that changes the value; the result is left, or follows."""
    target = random_equation(solution, rng)
    if target is None:
        return None
    k, equation = target
    i, j = sorted(rng.sample(range(len(equation.operands)), 2))
    a, b = equation.operands[i], equation.operands[j]
    edits = [(a.start, a.end, b.text), (b.start, b.end, a.text)]
    new = rewrite(solution.step_text(k), equation, edits)
    if new is None or new[1].values == equation.values:
        return None
    return _replace("swap", solution, rng, k, equation, edits, 0.5)


@error_type("dropped_term", share=0.05, order=4)
def dropped_term(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A term left out: of three or more in one expression, or of generated arithmetic, whose later steps go without."""
    if solution.expressions:
        return _dropped_operand(solution, rng)
    target = random_equation(solution, rng)
    if target is None or len(target[1].operands) < 3:
        return None
    k, equation = target
    parts = equation.tokens
    signs = [n for n, token in enumerate(parts) if token.kind == "operator"]
    n = rng.randrange(len(signs))
    text = solution.step_text(k)
    start, end = parts[signs[n]].start, parts[signs[n + 1]].start if n + 1 < len(signs) else 0
    if not end:  # the last term goes with the white space in front of it
        start, end = len(text[:start].rstrip()), len(text[: text.rfind("=", 0, equation.right.start)].rstrip())
    edit = (start, end, "")
    return _replace("dropped_term", solution, rng, k, equation, [edit], 0.5)


def _dropped_operand(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A step that takes up the next operand but one: `19 + 3` where `19 - 5`, then `+ 3` was due."""
    k = rng.randrange(len(solution.expressions))
    expression, step = solution.expressions[k], solution.steps[k]
    i = expression.next_step
    at = rng.choice((i, i + 1))  # which operand of the step is lost, with the operator beside it
    sign = max(at - 1, 0)
    shorter = expression._replace(
        operands=expression.operands[:at] + expression.operands[at + 1 :],
        operators=expression.operators[:sign] + expression.operators[sign + 1 :],
    )
    rest = exact_rest(solution, k, shorter) if shorter.operators else None
    if rest is None:
        return None
    wrong, found, tail = rest.partition(": ")[2].partition("\n")
    return Draft("dropped_term", step.start, step.end, wrong, found + tail)


@error_type("substitution", share=0.11, order=5)
def substitution(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """An operand replaced by another number of the question or of an earlier step; the result is left, or follows."""
    target = random_equation(solution, rng)
    if target is None:
        return None
    k, equation = target
    token = rng.choice(equation.operands)
    here = solution.steps[k].start
    others = [t.text for t in solution.numbers if t.start < here] + [t.text for t in numbers_in(solution.question)]
    others += [t.text for t in equation.operands]
    choices = sorted({text for text in others if text.replace(",", "") != token.text.replace(",", "")})
    if not choices:
        return None
    return _replace("substitution", solution, rng, k, equation, [(token.start, token.end, rng.choice(choices))], 0.65)
