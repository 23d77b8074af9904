"""The rule editor: one typed error in one step of a right solution, drawn by a seeded generator."""

import random
from collections.abc import Callable
from typing import Any

from mtjax.data.answers import extract_answer
from mtjax.data.mistake_record import Mistake
from mtjax.mistakes.filters import levenshtein
from mtjax.mistakes.injectors.numbers import NUMBER_ERRORS
from mtjax.mistakes.injectors.solution import Draft, Worked, take_apart
from mtjax.mistakes.injectors.wording import TEXT_ERRORS

INJECTORS: dict[str, Callable[[Worked, random.Random], Draft | None]] = NUMBER_ERRORS | TEXT_ERRORS
"""Every injector by its type: `(solution, generator) -> draft`, None where a draw finds no place."""

__all__ = ["INJECTORS", "Draft", "Worked", "compared", "draw", "edited", "take_apart", "whole_solution"]


def draw(worked: Worked, type: str, rng: random.Random, tries: int) -> list[Draft]:
    """Different edits of one type, at most one per try, in the order they were drawn."""
    drafts = (INJECTORS[type](worked, rng) for _ in range(tries))
    found = {(draft.start, draft.end, draft.wrong): draft for draft in drafts if draft is not None}
    return [draft for draft in found.values() if worked.text[draft.start : draft.end] != draft.wrong]


def changed_span(right: str, wrong: str) -> tuple[int, int, int, int]:
    """The stretch in which two texts differ, widened to whole numbers and words: start and end in each.

    >>> changed_span("48/2 = 24 clips", "48/2 = 25 clips")
    (7, 9, 7, 9)
    """
    start = next((i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), min(len(right), len(wrong)))
    while start and _joined(right, start) | _joined(wrong, start):
        start -= 1
    most = min(len(right), len(wrong)) - start
    behind = next((i for i in range(most) if right[-1 - i] != wrong[-1 - i]), most)
    while behind and (_joined(right, len(right) - behind) or _joined(wrong, len(wrong) - behind)):
        behind -= 1
    return start, len(right) - behind, start, len(wrong) - behind


def _joined(text: str, place: int) -> bool:
    """Whether the characters on both sides of a place belong to one word or number."""
    left, right = text[place - 1 : place], text[place : place + 1]
    if left and left in ".,":  # a point or comma belongs to a number only between two digits
        return text[max(place - 2, 0) : place - 1].isdigit() and right.isdigit()
    if right and right in ".,":
        return left.isdigit() and text[place + 1 : place + 2].isdigit()
    return left.isalnum() and right.isalnum()


def compared(right: str, wrong: str) -> dict[str, Any]:
    """The fields of a record that say how two steps differ: `span`, `before`, `after` and `edit_distance`."""
    a, b, c, d = changed_span(right, wrong)
    return {"span": (c, d), "before": right[a:b], "after": wrong[c:d], "edit_distance": levenshtein(right, wrong)}


def edited(
    worked: Worked, draft: Draft, *, id: str, problem_id: str, answer: str, generator: str = "rules",
    seed: int | None = None,
) -> Mistake:  # fmt: skip
    """The step mistake that a draft is, not judged yet.

    `wrong_rest` and `wrong_answer` say where the error leads; they are empty where that cannot be said.
    """
    right = worked.text[draft.start : draft.end]
    rest = draft.rest or ""
    ends = bool(rest.strip()) or draft.rest == ""
    wrong = worked.text[: draft.start] + draft.wrong + rest
    return Mistake(
        id=id,
        kind="step",
        problem_id=problem_id,
        question=worked.question,
        answer=answer,
        prefix=worked.text[: draft.start],
        right_step=right,
        right_rest=worked.text[draft.end :],
        wrong_step=draft.wrong,
        wrong_rest=rest,
        error_type=draft.type,
        **compared(right, draft.wrong),
        wrong_answer=(extract_answer(wrong) or "") if ends else "",
        generator=generator,
        seed=seed,
    )


def whole_solution(step: Mistake, *, id: str) -> Mistake:
    """The pair of whole solutions that a step mistake leads to; span and edit distance are those of the solutions."""
    offset = len(step.prefix)
    start, end = step.span or (0, len(step.wrong_step))
    return Mistake(
        id=id,
        kind="solution",
        problem_id=step.problem_id,
        question=step.question,
        answer=step.answer,
        right_step=step.right_solution,
        wrong_step=step.wrong_solution,
        span=(start + offset, end + offset),
        error_type=step.error_type,
        before=step.before,
        after=step.after,
        edit_distance=levenshtein(step.right_solution, step.wrong_solution),
        wrong_answer=step.wrong_answer,
        generator=step.generator,
        model=step.model,
        decode=step.decode,
        seed=step.seed,
    )
