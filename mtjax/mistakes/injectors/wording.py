"""Error types in the wording: units taken for one another, and words that change the meaning."""

import random
import re

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, change_equation
from mtjax.mistakes.text.lexer import number_of, sign_of

FACTORS = {
    60: (24, 100, 12), 24: (12, 60, 20), 7: (5, 10, 30), 12: (10, 24, 16), 52: (12, 50, 30), 365: (360, 100, 30),
    100: (10, 60, 1000), 1000: (100, 10, 60), 16: (12, 10, 8), 30: (31, 28, 7), 36: (12, 30, 24), 3600: (60, 360, 100),
    10: (12, 100, 7), 5280: (5000, 1000, 1760),
}  # fmt: skip
"""Factors between two units, and what is mistaken for them."""

UNITS = (
    ("second", "minute"), ("minute", "hour"), ("hour", "day"), ("day", "week"), ("week", "month"), ("month", "year"),
    ("inch", "foot"), ("inches", "feet"), ("foot", "yard"), ("feet", "yards"), ("yards", "miles"), ("cent", "dollar"),
    ("gram", "kilogram"), ("meter", "kilometer"), ("ounce", "pound"), ("liter", "gallon"), ("centimeter", "meter"),
    ("cup", "pint"), ("pint", "quart"),
)  # fmt: skip
"""Units that are taken for one another, either way; an s may follow both."""

MISREAD = (
    ("more", "fewer", "+", "-"), ("more", "less", "+", "-"), ("older", "younger", "+", "-"),
    ("longer", "shorter", "+", "-"), ("taller", "shorter", "+", "-"), ("earned", "spent", "+", "-"),
    ("bought", "sold", "+", "-"), ("gained", "lost", "+", "-"), ("total", "difference", "+", "-"),
    ("added", "removed", "+", "-"), ("more", "left", "+", "-"), ("together", "left", "+", "-"),
    ("twice", "half", "*", "/"), ("total", "each", "*", "/"), ("before", "after", "", ""), ("first", "second", "", ""),
    ("first", "last", "", ""), ("morning", "evening", "", ""), ("boys", "girls", "", ""), ("men", "women", "", ""),
    ("remaining", "total", "", ""), ("used", "left", "", ""), ("day", "week", "", ""),
    ("week", "month", "", ""), ("each", "all", "", ""), ("wins", "loses", "", ""), ("costs", "saves", "", ""),
)  # fmt: skip
"""Words that turn a reading into another, and the operators that go with each."""


@error_type("unit", share=0.03, order=7)
def unit(solution: ParsedSolution, rng: random.Random) -> Draft | None:
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
        edit = (token.start, token.end, new)
        if len(new) > solution.digits:
            return None
        changed = change_equation(solution, k, equation, [edit], recompute=True)
        step = solution.steps[k]
        return Draft("unit", step.start, step.end, *changed) if changed else None
    words = dict(UNITS) | {a + "s": b + "s" for a, b in UNITS if not a.endswith(("s", "foot", "inch"))}
    return _other_word("unit", solution, rng, words | {b: a for a, b in words.items()})


def _words(solution: ParsedSolution, table: dict[str, str]) -> list[tuple[int, int, str, str]]:
    """Where words of a table stand: step, place in it, the word, the other word with the same capital."""
    found = []
    for k, step in enumerate(solution.steps):
        for match in re.finditer(r"\b[A-Za-z]+\b", "" if step.answer else solution.step_text(k)):
            other = table.get(match[0].lower())
            if other is not None:
                found.append((k, match.start(), match[0], other.capitalize() if match[0][0].isupper() else other))
    return found


def _other_word(type: str, solution: ParsedSolution, rng: random.Random, table: dict[str, str]) -> Draft | None:
    places = _words(solution, table)
    if not places:
        return None
    k, at, word, other = rng.choice(places)
    step, text = solution.steps[k], solution.step_text(k)
    return Draft(type, step.start, step.end, text[:at] + other + text[at + len(word) :], solution.text[step.end :])


@error_type("misread", share=0.04, order=11)
def misread(solution: ParsedSolution, rng: random.Random) -> Draft | None:
    """A word that turns the question's meaning, with the operator that goes with it where the step has one.

    Without an operator nothing in the step can be checked, and it stays unproved.
    """
    pairs = [rng.choice((row, (row[1], row[0], row[3], row[2]))) for row in MISREAD]
    rng.shuffle(pairs)
    table = {row[0]: row for row in pairs}
    places = _words(solution, {row[0]: row[1] for row in table.values()})
    if not places:
        return None
    turned = [
        (place, equation, token)
        for place in places
        for equation in solution.equations[place[0]]
        for token in equation.operators[: len(equation.operators) == 1]
        if sign_of(token) == table[place[2].lower()][2] and not equation.start <= place[1] < equation.end
    ]
    (k, at, word, other), changed = rng.choice(places), None
    if turned and rng.random() < 0.8:
        (k, at, word, other), equation, token = rng.choice(turned)
        edit = (token.start, token.end, table[word.lower()][3])
        changed = change_equation(solution, k, equation, [edit], recompute=True)
    text, rest = changed or (solution.step_text(k), solution.text[solution.steps[k].end :])
    # The operator's new result may move the word: it is looked up again, at its own number in the text.
    count = len(re.findall(rf"\b{word}\b", solution.step_text(k)[:at]))
    found = [match.span() for match in re.finditer(rf"\b{word}\b", text)][count]
    step = solution.steps[k]
    return Draft("misread", step.start, step.end, text[: found[0]] + other + text[found[1] :], rest)
