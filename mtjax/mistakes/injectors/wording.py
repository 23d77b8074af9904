"""Error types in the wording: confused units, words that change the meaning, and steps that are left out."""

import functools
import random
import re
from fractions import Fraction

from mtjax.mistakes.injectors.base import error_type
from mtjax.mistakes.injectors.propagation import write_number
from mtjax.mistakes.injectors.solution import Draft, Solution, change_equation, exact_step
from mtjax.mistakes.text.lexer import number_of, numbers_in, sign_of

_FACTORS = """60 second/minute minute/hour:24,100,30; 24 hour/day:12,20,30; 7 day/week:5,6,10; 12 month/year:10,24,6
12 inch/foot:10,16,24; 3 foot/yard:4,2,5; 52 week/year:50,48,30; 365 day/year:360,300,200; 4 week/month:5,3,6
30 day/month:31,28,20; 100 cent/dollar centimeter/meter:60,50,200; 1000 gram/kilogram meter/kilometer:500,600,1200
1000 milliliter/liter:500,600,1200; 16 ounce/pound:12,10,8; 3600 second/hour:1800,2400,6000; 36 inch/yard:30,24,48
5280 foot/mile:5000,5820,3280; 1760 yard/mile:1670,1000,2000; 4 quart/gallon:5,3,6; 2 cup/pint pint/quart:3,4,1
8 pint/gallon ounce/cup:6,10,12"""
FACTORS = [
    (int(factor), tuple(tuple(pair.split("/")) for pair in units.split()), wrong.split(","))
    for factor, units, wrong in re.findall(r"(\d+) ([a-z/ ]+):([\d,]+)", _FACTORS)
]
"""Factors between two units, the pairs of units that have them, and what is mistaken for them."""

_UNITS = """second/minute minute/hour hour/day day/week week/month month/year inch/foot foot/yard yard/mile cent/dollar
gram/kilogram meter/kilometer ounce/pound liter/gallon centimeter/meter cup/pint pint/quart"""
_MANY = {"inch": "inches", "foot": "feet"}
UNITS = dict(pair.split("/") for pair in _UNITS.split())
UNITS |= {_MANY.get(a, a + "s"): _MANY.get(b, b + "s") for a, b in UNITS.items()}
UNITS |= {second: first for first, second in UNITS.items()}
"""Units that are confused with each other."""

_MEASURES = re.compile(
    r"(?:[0-9]|\b(?:per|in|of|how many|few|many|several))[ -]*$|\b(?:an?|each|every)\s+$", re.IGNORECASE
)
"""What stands before a word that is used as a unit: `5 minutes`, `per second`, `in hours`, not `the second box`."""

_NEAR = 64  # characters before a word in which that is looked for
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
    places = []
    for k, equation in solution.targets:
        if not {sign_of(sign) for sign in equation.operators} & set("*/"):
            continue
        step = solution.steps[k]
        known, end = solution.before(step.start), len(solution.question) + 1 + step.end
        named = {unit for unit, place in _units_named(solution).items() if place < end}
        for token in equation.operands:
            factors = _wrong_factors(number_of(token), named) if number_of(token) not in known else []
            places += [(k, equation, token, factors)] if factors else []
    if places:
        k, equation, token, factors = rng.choice(places)
        new = rng.choice(factors)
        if len(new) > solution.digits:
            return None
        changed = change_equation(solution, k, equation, [(token.start, token.end, new)], follow=True)
        return solution.draft("unit", k, changed)
    words = [place for place in _words(solution, UNITS) if _is_unit(solution.step_text(place[0]), place[1], place[2])]
    if not words:
        return None
    k, at, word, other = rng.choice(words)
    text = solution.step_text(k)
    wrong = text[:at] + other + text[at + len(word) :]
    return solution.draft("unit", k, (wrong, solution.text[solution.steps[k].end :]))


def _is_unit(text: str, at: int, word: str) -> bool:
    """Whether the word at a place measures something there; "second" is more often an ordinal."""
    before = _MEASURES.search(text, max(0, at - _NEAR), at)
    if before is None:
        return False
    return word.lower() != "second" or before[0][0].isdigit() or before[0][:3].lower() == "per"


@functools.lru_cache(maxsize=8)
def _units_named(solution: Solution) -> dict[str, int]:
    """The units that a question with its solution measures in, in the singular, and where each stands first."""
    text = f"{solution.question}\n{solution.text}"
    one = {many: unit for unit, many in _MANY.items()}
    first = {"dollar": text.index("$")} if "$" in text else dict[str, int]()
    for match in re.finditer(r"[A-Za-z]+", text):
        unit = one.get(match[0].lower(), match[0].lower().removesuffix("s"))
        if first.get(unit, len(text)) > match.start() and _is_unit(text, match.start(), match[0]):
            first[unit] = match.start()
    return first


def _wrong_factors(number: Fraction, named: set[str]) -> list[str]:
    """What is mistaken for a number that is the factor between two named units; empty if it is none."""
    pairs = [(units, wrong) for factor, units, wrong in FACTORS if factor == number]
    return next((wrong for units, wrong in pairs if any(set(pair) <= named for pair in units)), [])


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
