"""The contract of an error type, its registry, and the record that an edit becomes."""

import dataclasses
import functools
import random
import re
from collections.abc import Callable
from typing import Any

from mtjax.data.answers import extract_answer
from mtjax.data.mistake_record import Mistake
from mtjax.errors import suggest
from mtjax.mistakes.filters import first_difference, implausible, levenshtein
from mtjax.mistakes.injectors.solution import Changed, Draft, Solution
from mtjax.mistakes.text.equations import Equation
from mtjax.registry import Registry

Injector = Callable[[Solution, random.Random], Draft | None]
"""An error type: `(solution, generator) -> draft`, or None if this draw finds no place for the error."""

EquationInjector = Callable[[Solution, random.Random, int, Equation], Changed | None]
"""`(solution, generator, number of the step, one of its true equations) -> changed step`, or None as above."""

ERROR_TYPES = Registry("error_type", requires=("share", "order"), settings=False)
"""Every error type by name. `in_order` lists them in the order in which a seed draws them."""

OTHER = "other"  # The error type of a mistake that has not been classified.
_WORD = re.compile(r"(?:[^\W_]|(?<=\d)[.,](?=\d))+")


def error_type(name: str, share: float = 0.0, order: int | None = None) -> Callable[[Injector], Injector]:
    """Decorator that registers a function as an error type.

    The first line of its docstring is the description in `--help` and in `python -m mtjax.list error_type`.

    Args:
        name: name of the type in records, tables and options (`--shares.NAME`).
        share: default odds that the type is tried first. With 0 the default settings give the same records as before.
        order: position in the order in which types are drawn. Types without one follow in alphabetical order, so that
            a new type does not change what a seed gives.
    """

    def register(injector: Injector) -> Injector:
        vars(injector).update(share=share, order=order)
        return ERROR_TYPES.register(name)(injector)

    return register


def equation_error(name: str, share: float, order: int) -> Callable[[EquationInjector], Injector]:
    """Like `error_type`, for a function that changes one true equation, which is drawn for it."""

    def register(change: EquationInjector) -> Injector:
        @functools.wraps(change)
        def injector(solution: Solution, rng: random.Random) -> Draft | None:
            if not solution.targets:
                return None
            k, equation = rng.choice(solution.targets)
            return solution.draft(name, k, change(solution, rng, k, equation))

        return error_type(name, share, order)(injector)

    return register


def in_order() -> list[str]:
    """The names of all error types in the order in which a seed draws them."""
    place = lambda name: ERROR_TYPES[name].order
    return sorted(ERROR_TYPES, key=lambda name: (place(name) is None, place(name) or 0, name))


def draw(solution: Solution, type: str, rng: random.Random, tries: int) -> list[Draft]:
    """Different edits of one type, at most one per try, in the order they were drawn; none of implausible size."""
    drafts = (ERROR_TYPES[type](solution, rng) for _ in range(tries))
    found = {(draft.start, draft.end, draft.wrong): draft for draft in drafts if draft is not None}
    right = lambda draft: solution.text[draft.start : draft.end]
    return [d for d in found.values() if right(d) != d.wrong and not implausible(right(d), d.wrong)]


def changed_span(right: str, wrong: str) -> tuple[int, int, int, int]:
    """Where two texts differ, widened to complete numbers and words: start and end in each.

    >>> changed_span("48/2 = 24 clips", "48/2 = 25 clips")
    (7, 9, 7, 9)
    """
    in_right, in_wrong = _inside(right), _inside(wrong)
    start = first_difference(right, wrong)
    while start and (start in in_right or start in in_wrong):
        start -= 1
    same = first_difference(right[start:][::-1], wrong[start:][::-1])
    while same and (len(right) - same in in_right or len(wrong) - same in in_wrong):
        same -= 1
    return start, len(right) - same, start, len(wrong) - same


def _inside(text: str) -> set[int]:
    """The places inside a word or number."""
    return {place for match in _WORD.finditer(text) for place in range(match.start() + 1, match.end())}


def compared(right: str, wrong: str) -> dict[str, Any]:
    """The fields of a record that say how two steps differ: `span`, `before`, `after` and `edit_distance`."""
    a, b, c, d = changed_span(right, wrong)
    return {"span": (c, d), "before": right[a:b], "after": wrong[c:d], "edit_distance": levenshtein(right, wrong)}


def edited(
    solution: Solution, draft: Draft, *, id: str, problem_id: str, answer: str, generator: str = "rules",
    seed: int | None = None,
) -> Mistake:  # fmt: skip
    """The step mistake of a draft, without a verdict.

    `wrong_rest` and `wrong_answer` hold what follows from the error; they are empty if that is not certain, and the
    answer also if the question asks for none.

    Raises:
        ValueError: the draft has an error type that is not registered.
    """
    if draft.type != OTHER and draft.type not in ERROR_TYPES:
        raise ValueError(f"unknown error type {draft.type!r}: {suggest(draft.type, ERROR_TYPES)}")
    right, rest = solution.text[draft.start : draft.end], draft.rest or ""
    ends = bool(rest.strip()) or draft.rest == ""
    prefix = solution.text[: draft.start]
    return Mistake(
        id=id, kind="step", problem_id=problem_id, question=solution.question, answer=answer, prefix=prefix,
        right_step=right, right_rest=solution.text[draft.end :], wrong_step=draft.wrong, wrong_rest=rest,
        error_type=draft.type, **compared(right, draft.wrong), generator=generator, seed=seed,
        wrong_answer=(extract_answer(prefix + draft.wrong + rest) or "") if ends and answer else "",
    )  # fmt: skip


def whole_solution(step: Mistake, *, id: str) -> Mistake:
    """The pair of complete solutions that a step mistake leads to, not yet judged."""
    offset, right, wrong = len(step.prefix), step.right_solution, step.wrong_solution
    start, end = step.span or (0, len(step.wrong_step))
    return dataclasses.replace(
        step, id=id, kind="solution", prefix="", right_step=right, right_rest="", wrong_step=wrong, wrong_rest="",
        span=(start + offset, end + offset), edit_distance=levenshtein(right, wrong), verdict="unproved", judge="",
    )  # fmt: skip
