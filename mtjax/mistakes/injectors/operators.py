"""Error types that change the form of an equation: operators, order, terms and substituted operands."""

import random

from mtjax.mistakes.injectors.base import equation_error, error_type
from mtjax.mistakes.injectors.propagation import Edit, rewrite
from mtjax.mistakes.injectors.solution import (
    ChangedStep,
    Draft,
    ParsedSolution,
    change_equation,
    exact_step,
    step_draft,
)
from mtjax.mistakes.text.equations import Equation
from mtjax.mistakes.text.lexer import numbers_in, sign_of


def _change(
    solution: ParsedSolution, rng: random.Random, k: int, equation: Equation, edits: list[Edit], share: float = 0.5
) -> ChangedStep | None:
    """The edits with the result recomputed (in `share` of the cases, if possible) or left."""
    changed = change_equation(solution, k, equation, edits, follow=True) if rng.random() < share else None
    return changed or change_equation(solution, k, equation, edits)


@equation_error("operator", share=0.11, order=2)
def operator(solution: ParsedSolution, rng: random.Random, k: int, equation: Equation) -> ChangedStep | None:
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
def swap(solution: ParsedSolution, rng: random.Random, k: int, equation: Equation) -> ChangedStep | None:
    """Two operands change places where that changes the value; the result is left, or follows."""
    i, j = sorted(rng.sample(range(len(equation.operands)), 2))
    a, b = equation.operands[i], equation.operands[j]
    edits = [(a.start, a.end, b.text), (b.start, b.end, a.text)]
    new = rewrite(solution.step_text(k), equation, edits)
    if new is None or new[1].values == equation.values:
        return None
    return _change(solution, rng, k, equation, edits)


@error_type("dropped_term", share=0.05, order=4)
def dropped_term(solution: ParsedSolution, rng: random.Random) -> Draft | None:
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
    return step_draft("dropped_term", solution, k, _change(solution, rng, k, equation, [(start, end, "")]))


def _dropped_operand(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A step that takes the next operand but one: `19 + 3` where `19 - 5`, then `+ 3` is right."""
    k = rng.randrange(len(solution.expressions))
    operands, operators = solution.expressions[k]
    at = rng.choice((solution.expressions[k].next_step, solution.expressions[k].next_step + 1))
    sign = max(at - 1, 0)  # the operator beside the operand that is lost
    shorter = solution.expressions[k]._replace(
        operands=operands[:at] + operands[at + 1 :], operators=operators[:sign] + operators[sign + 1 :]
    )
    changed = exact_step(solution, k, shorter) if shorter.operators else None
    return step_draft("dropped_term", solution, k, changed)


@equation_error("substitution", share=0.11, order=5)
def substitution(solution: ParsedSolution, rng: random.Random, k: int, equation: Equation) -> ChangedStep | None:
    """An operand replaced by another number of the question or of an earlier step; the result is left, or follows."""
    token = rng.choice(equation.operands)
    earlier = [other for other in solution.numbers if other.start < solution.steps[k].start]
    others = {other.text for other in (*earlier, *numbers_in(solution.question), *equation.operands)}
    choices = sorted(text for text in others if text.replace(",", "") != token.text.replace(",", ""))
    if not choices:
        return None
    return _change(solution, rng, k, equation, [(token.start, token.end, rng.choice(choices))], 0.65)
