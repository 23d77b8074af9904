"""Error types that leave out a step: the next step too early, or the answer too early."""

import random

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, exact_step, step_draft
from mtjax.mistakes.text.lexer import number_of, numbers_in


@error_type("skipped_step", share=0.05, order=9)
def skipped_step(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """The next step in place of this one.

    In prose it takes what the skipped step would have changed; in generated arithmetic it takes the skipped step's
    result, which has not been computed.
    """
    last = len(solution.expressions) or sum(not step.answer for step in solution.steps)
    if last < 2:
        return None
    k = rng.randrange(last - 1)
    if solution.expressions:
        return step_draft("skipped_step", solution, k, exact_step(solution, k, solution.expressions[k + 1]))
    if len(solution.equations[k]) != 1:
        return None
    equation = solution.equations[k][0]
    old, new = equation.value, number_of(rng.choice(equation.operands))
    if old == new or write_number(new, equation.right.text, digits=solution.digits) is None:
        return None
    flow = solution.flow({old: new}, solution.steps[k].start + equation.right.start)
    after = solution.step_text(k + 1)
    wrong = flow.advance(after)
    if wrong is None or wrong == after:
        return None
    return step_draft("skipped_step", solution, k, (wrong, flow.advance(solution.text[solution.steps[k + 1].end :])))


@error_type("early_stop", share=0.02, order=10)
def early_stop(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """The answer line, with the last result, in place of a step."""
    choices = [k for k, step in enumerate(solution.steps) if k and not step.answer and solution.equations[k - 1]]
    if not choices or not solution.steps[-1].answer:
        return None
    k = rng.choice(choices)
    final, step = solution.steps[-1], solution.steps[k]
    like = numbers_in(solution.text[final.start : final.end])
    result = solution.equations[k - 1][-1].value
    text = write_number(result, like[0].text if like else "0", digits=solution.digits)
    if text is None:
        return None
    return Draft("early_stop", step.line, step.end, solution.text[final.line : final.start] + text, "")
