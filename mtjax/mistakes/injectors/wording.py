"""Error types in the wording: confused units, words that change the meaning, and steps that are left out."""

import random
import re

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import Draft, Solution, change_equation, exact_step
from mtjax.mistakes.text.lexer import number_of, numbers_in, sign_of

FACTORS = {
    60: (24, 100, 12), 24: (12, 60, 20), 7: (5, 10, 30), 12: (10, 24, 16), 52: (12, 50, 30), 365: (360, 100, 30),
    100: (10, 60, 1000), 1000: (100, 10, 60), 16: (12, 10, 8), 30: (31, 28, 7), 36: (12, 30, 24), 3600: (60, 360, 100),
    10: (12, 100, 7), 5280: (5000, 1000, 1760),
}  # fmt: skip
"""Factors between two units, and what is mistaken for them."""

_UNITS = """second/minute minute/hour hour/day day/week week/month month/year inch/foot inches/feet foot/yard feet/yards
yards/miles cent/dollar gram/kilogram meter/kilometer ounce/pound liter/gallon centimeter/meter cup/pint pint/quart"""
UNITS = dict(pair.split("/") for pair in _UNITS.split())
UNITS |= {a + "s": b + "s" for a, b in UNITS.items() if not a.endswith(("s", "foot", "inch"))}
UNITS |= {second: first for first, second in UNITS.items()}
"""Units that are confused with each other."""

_PAIRS = {
    "+-": "more/fewer more/less older/younger longer/shorter taller/shorter earned/spent bought/sold gained/lost "
    "total/difference added/removed more/left together/left",
    "*/": "twice/half total/each",
    "": "before/after first/second first/last morning/evening boys/girls men/women remaining/total used/left day/week "
    "week/month each/all wins/loses costs/saves",
}
MISREAD = [(*pair.split("/"), signs[:1], signs[1:]) for signs, pairs in _PAIRS.items() for pair in pairs.split()]
"""Words that turn one reading into another, and the operators that go with each."""


@error_type("unit", share=0.03, order=7)
def unit(solution: Solution, rng: random.Random) -> Draft | None:
    """A wrong factor between two units, with what follows from it; or another unit, which no checker can judge."""
    places = [
        (k, equation, token)
        for k, equation in solution.targets
        for token in equation.operands
        if number_of(token) in FACTORS and number_of(token) not in solution.before(solution.steps[k].start)
    ]
    if places:
        k, equation, token = rng.choice(places)
        new = str(rng.choice(FACTORS[int(number_of(token))]))
        if len(new) > solution.digits:
            return None
        changed = change_equation(solution, k, equation, [(token.start, token.end, new)], follow=True)
        return solution.draft("unit", k, changed)
    words = _words(solution, UNITS)
    if not words:
        return None
    k, at, word, other = rng.choice(words)
    text = solution.step_text(k)
    wrong = text[:at] + other + text[at + len(word) :]
    return solution.draft("unit", k, (wrong, solution.text[solution.steps[k].end :]))


def _words(solution: Solution, table: dict[str, str]) -> list[tuple[int, int, str, str]]:
    """Each word of a table in the solution: step, place in it, the word, the other word with the same capital."""
    found = []
    for k, step in enumerate(solution.steps):
        for match in re.finditer(r"\b[A-Za-z]+\b", "" if step.answer else solution.step_text(k)):
            other = table.get(match[0].lower())
            if other is not None:
                found.append((k, match.start(), match[0], other.capitalize() if match[0][0].isupper() else other))
    return found


@error_type("misread", share=0.04, order=11)
def misread(solution: Solution, rng: random.Random) -> Draft | None:
    """A word that turns the question's meaning, with the operator that goes with it where the step has one.

    Without an operator nothing in the step can be checked, so it is unproved.
    """
    rows = [rng.choice((row, (row[1], row[0], row[3], row[2]))) for row in MISREAD]
    rng.shuffle(rows)
    table = {row[0]: row for row in rows}
    places = _words(solution, {word: row[1] for word, row in table.items()})
    if not places:
        return None
    turned = [
        (place, equation, equation.operators[0])
        for place in places
        for equation in solution.equations[place[0]]
        if len(equation.operators) == 1
        and sign_of(equation.operators[0]) == table[place[2].lower()][2]
        and not equation.start <= place[1] < equation.end
    ]
    (k, at, word, other), changed = rng.choice(places), None
    if turned and rng.random() < 0.8:
        (k, at, word, other), equation, token = rng.choice(turned)
        edit = (token.start, token.end, table[word.lower()][3])
        changed = change_equation(solution, k, equation, [edit], follow=True)
    text, rest = changed or (solution.step_text(k), solution.text[solution.steps[k].end :])
    # The new result may move the word, so it is looked up again by its number in the text.
    count = len(re.findall(rf"\b{word}\b", solution.step_text(k)[:at]))
    start, end = [match.span() for match in re.finditer(rf"\b{word}\b", text)][count]
    return solution.draft("misread", k, (text[:start] + other + text[end:], rest))


@error_type("skipped_step", share=0.05, order=9)
def skipped_step(solution: Solution, rng: random.Random) -> Draft | None:
    """The next step in place of this one.

    In prose it takes what the skipped step would have changed; in generated arithmetic it takes the skipped step's
    result, which has not been computed.
    """
    last = len(solution.expressions) or sum(not step.answer for step in solution.steps)
    if last < 2:
        return None
    k = rng.randrange(last - 1)
    if solution.expressions:
        return solution.draft("skipped_step", k, exact_step(solution, k, solution.expressions[k + 1]))
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
    return solution.draft("skipped_step", k, (wrong, flow.advance(solution.text[solution.steps[k + 1].end :])))


@error_type("early_stop", share=0.02, order=10)
def early_stop(solution: Solution, rng: random.Random) -> Draft | None:
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
