"""Error types that leave out a step: the next step too early, or the answer too early."""

import random
from fractions import Fraction

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, exact_rest
from mtjax.mistakes.text.lexer import number_of, numbers_in


@error_type("skipped_step", share=0.05, order=9)
def skipped_step(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """The next step in place of this one.

    In prose it takes what the skipped step would have changed; in generated arithmetic it takes the skipped step's
    result, which then comes from nowhere.
    """
    last = len(solution.expressions) or sum(not step.answer for step in solution.steps)
    if last < 2:
        return None
    k = rng.randrange(last - 1)
    step, after = solution.steps[k], solution.steps[k + 1]
    if solution.expressions:
        rest = exact_rest(solution, k + 1, solution.expressions[k + 1])
        rest = rest and exact_rest(solution, k, solution.expressions[k + 1])
        skipped = rest.partition(": ")[2].partition("\n") if rest else None
        return Draft("skipped_step", step.start, step.end, skipped[0], skipped[1] + skipped[2]) if skipped else None
    if len(solution.equations[k]) != 1:
        return None
    equation = solution.equations[k][0]
    taken = rng.choice(equation.operands)
    old, new = equation.value, number_of(taken)
    if old == new or write_number(new, equation.right.text, digits=solution.digits) is None:
        return None
    flow = solution.flow({old: new}, step.start + equation.right.start)
    wrong = flow.advance(solution.step_text(k + 1))
    if wrong is None or wrong == solution.step_text(k + 1):
        return None
    return Draft("skipped_step", step.start, step.end, wrong, flow.advance(solution.text[after.end :]))


@error_type("early_stop", share=0.02, order=10)
def early_stop(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """The answer line, with the last result, in place of a step."""
    if not solution.steps or not solution.steps[-1].answer:
        return None
    final = solution.steps[-1]
    choices = [k for k, step in enumerate(solution.steps) if k and not step.answer and solution.equations[k - 1]]
    if not choices:
        return None
    k = rng.choice(choices)
    value: Fraction = solution.equations[k - 1][-1].value
    like = numbers_in(solution.step_text(len(solution.steps) - 1))
    text = write_number(value, like[0].text if like else "0", digits=solution.digits)
    step = solution.steps[k]
    return (
        Draft("early_stop", step.line, step.end, solution.text[final.line : final.start] + text, "") if text else None
    )
