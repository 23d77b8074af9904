"""Errors in what is said: units, misread words, and steps that are left out."""

import random
import re
from collections.abc import Callable
from fractions import Fraction

from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import Draft, Worked, change_equation, exact_rest
from mtjax.mistakes.text.lexer import number_of, numbers_in, sign_of

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


def unit(worked: Worked, rng: random.Random) -> Draft | None:
    """A wrong factor between two units, with what follows from it; or another unit, which no checker can judge."""
    places = [
        (k, equation, token)
        for k, equation in worked.targets
        for token in equation.operands
        if number_of(token) in FACTORS and number_of(token) not in worked.before(worked.steps[k].start)
    ]
    if places:
        k, equation, token = rng.choice(places)
        new = str(rng.choice(FACTORS[int(number_of(token))]))
        edit = (token.start, token.end, new)
        if len(new) > worked.digits:
            return None
        changed = change_equation(worked, k, equation, [edit], recompute=True)
        step = worked.steps[k]
        return Draft("unit", step.start, step.end, *changed) if changed else None
    words = dict(UNITS) | {a + "s": b + "s" for a, b in UNITS if not a.endswith(("s", "foot", "inch"))}
    return _other_word("unit", worked, rng, words | {b: a for a, b in words.items()})


def _words(worked: Worked, table: dict[str, str]) -> list[tuple[int, int, str, str]]:
    """Where words of a table stand: step, place in it, the word, the other word with the same capital."""
    found = []
    for k, step in enumerate(worked.steps):
        for match in re.finditer(r"\b[A-Za-z]+\b", "" if step.answer else worked.step_text(k)):
            other = table.get(match[0].lower())
            if other is not None:
                found.append((k, match.start(), match[0], other.capitalize() if match[0][0].isupper() else other))
    return found


def _other_word(type: str, worked: Worked, rng: random.Random, table: dict[str, str]) -> Draft | None:
    places = _words(worked, table)
    if not places:
        return None
    k, at, word, other = rng.choice(places)
    step, text = worked.steps[k], worked.step_text(k)
    return Draft(type, step.start, step.end, text[:at] + other + text[at + len(word) :], worked.text[step.end :])


def misread(worked: Worked, rng: random.Random) -> Draft | None:
    """A word that turns the question's meaning, with the operator that goes with it where the step has one.

    Without an operator nothing in the step can be checked, and it stays unproved.
    """
    pairs = [rng.choice((row, (row[1], row[0], row[3], row[2]))) for row in MISREAD]
    rng.shuffle(pairs)
    table = {row[0]: row for row in pairs}
    places = _words(worked, {row[0]: row[1] for row in table.values()})
    if not places:
        return None
    turned = [
        (place, equation, token)
        for place in places
        for equation in worked.equations[place[0]]
        for token in equation.operators[: len(equation.operators) == 1]
        if sign_of(token) == table[place[2].lower()][2] and not equation.start <= place[1] < equation.end
    ]
    (k, at, word, other), changed = rng.choice(places), None
    if turned and rng.random() < 0.8:
        (k, at, word, other), equation, token = rng.choice(turned)
        edit = (token.start, token.end, table[word.lower()][3])
        changed = change_equation(worked, k, equation, [edit], recompute=True)
    text, rest = changed or (worked.step_text(k), worked.text[worked.steps[k].end :])
    # The operator's new result may move the word: it is looked up again, at its own number in the text.
    count = len(re.findall(rf"\b{word}\b", worked.step_text(k)[:at]))
    found = [match.span() for match in re.finditer(rf"\b{word}\b", text)][count]
    step = worked.steps[k]
    return Draft("misread", step.start, step.end, text[: found[0]] + other + text[found[1] :], rest)


def skipped_step(worked: Worked, rng: random.Random) -> Draft | None:
    """The next step in place of this one.

    In prose it takes what the skipped step would have changed; in generated arithmetic it takes the skipped step's
    result, which then comes from nowhere.
    """
    last = len(worked.expressions) or sum(not step.answer for step in worked.steps)
    if last < 2:
        return None
    k = rng.randrange(last - 1)
    step, after = worked.steps[k], worked.steps[k + 1]
    if worked.expressions:
        rest = exact_rest(worked, k + 1, worked.expressions[k + 1])
        rest = rest and exact_rest(worked, k, worked.expressions[k + 1])
        skipped = rest.partition(": ")[2].partition("\n") if rest else None
        return Draft("skipped_step", step.start, step.end, skipped[0], skipped[1] + skipped[2]) if skipped else None
    if len(worked.equations[k]) != 1:
        return None
    equation = worked.equations[k][0]
    taken = rng.choice(equation.operands)
    old, new = equation.value, number_of(taken)
    if old == new or write_number(new, equation.right.text, digits=worked.digits) is None:
        return None
    flow = worked.flow({old: new}, step.start + equation.right.start)
    wrong = flow.advance(worked.step_text(k + 1))
    if wrong is None or wrong == worked.step_text(k + 1):
        return None
    return Draft("skipped_step", step.start, step.end, wrong, flow.advance(worked.text[after.end :]))


def early_stop(worked: Worked, rng: random.Random) -> Draft | None:
    """The answer line, with the last result, in place of a step."""
    if not worked.steps or not worked.steps[-1].answer:
        return None
    final = worked.steps[-1]
    choices = [k for k, step in enumerate(worked.steps) if k and not step.answer and worked.equations[k - 1]]
    if not choices:
        return None
    k = rng.choice(choices)
    value: Fraction = worked.equations[k - 1][-1].value
    like = numbers_in(worked.step_text(len(worked.steps) - 1))
    text = write_number(value, like[0].text if like else "0", digits=worked.digits)
    step = worked.steps[k]
    return Draft("early_stop", step.line, step.end, worked.text[final.line : final.start] + text, "") if text else None


TEXT_ERRORS: dict[str, Callable[[Worked, random.Random], Draft | None]] = {
    "unit": unit,
    "misread": misread,
    "skipped_step": skipped_step,
    "early_stop": early_stop,
}
"""Injectors by type, as in `mtjax.mistakes.injectors.numbers.NUMBER_ERRORS`."""
