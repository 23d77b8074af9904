"""Mined solutions as mistake records: a wrong and a right solution side by side, and the first wrong step."""

import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from mtjax.data.answers import stated_answer
from mtjax.data.arithmetic_checker import first_wrong_step
from mtjax.data.mistake_record import Mistake
from mtjax.data.sources.mined import Mined, MinedProblem, Solution, read_mined, solutions_file
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.io.journal import MANIFEST
from mtjax.mistakes.filters import levenshtein

KINDS: tuple[Literal["solution", "step"], ...] = ("solution", "step")
"""Which records there are, see `Mistake.kind`."""


def mined_mistakes(
    path: str,
    *,
    kinds: Collection[Literal["solution", "step"]] = KINDS,
    pairs_per_problem: int | None = None,
    seed: int = 0,
) -> Iterator[Mistake]:
    """The mistakes in a folder or file of mined solutions, problem by problem.

    - "solution": each wrong solution beside a right one of its problem; which one, and which `pairs_per_problem` of the
      wrong ones, is drawn by `seed`. Proved by the final answer.
    - "step": where an exact checker knows the first wrong step, that step beside the right one, once for solutions that
      share it. Only steps that are proved wrong: see `first_wrong_step`.

    What `mtjax.data.sources.mined.Mined` leaves out by default is left out: verdicts that are unknown are never wrong.
    Raises InputError for a bad file.
    """
    about = _about(path)
    for mined in read_mined(path):
        known: dict[str, Any] = {"problem_id": mined.id, "question": mined.question, "answer": mined.answer, **about}
        if "solution" in kinds:
            yield from _pairs(mined, known, pairs_per_problem, seed)
        if "step" in kinds:
            yield from _steps(mined, known)


def _about(path: str) -> dict[str, Any]:
    """What the manifest beside the file says of the policy."""
    file = pathlib.Path(solutions_file(path)).parent / MANIFEST
    about: dict[str, Any] = {"generator": "sampling"}
    if file.is_file():
        try:
            settings = json.loads(file.read_text())["settings"]
            policy, decode = settings["policy"], settings["decode"]
            about |= {"model": policy.get("fingerprint") or policy["model"], "seed": settings["seed"]}
            about |= {"decode": {name: value for name, value in decode.items() if name != "kind"}}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"'{file}' cannot be read ({error!r:.100}); mine again, or move it away") from error
    return about


def _pairs(mined: MinedProblem, known: Mapping[str, Any], most: int | None, seed: int) -> Iterator[Mistake]:
    reader = Mined(path="")
    drawn = lambda side: sorted(
        (solution for solution in mined.solutions if reader.side_of(solution) == side),
        key=lambda solution: unit(seed, mined.number, side, solution.text),
    )
    right, wrong = drawn("right"), drawn("wrong")
    for number, solution in enumerate(wrong[:most] if right else ()):
        states = stated_answer(solution.text) is not None  # its last number may be any
        yield Mistake(
            id=f"{mined.id}:{mined.number}/solution/{number}",
            kind="solution",
            right_step=right[number % len(right)].text.strip(),
            wrong_step=solution.text.strip(),
            wrong_answer=solution.answer or "",
            error_type=_error_type(mined.question, solution),
            verdict="proved" if states else "unproved",
            judge="final answer" if states else "",
            **known,
        )


def _error_type(question: str, solution: Solution) -> str:
    step = first_wrong_step(question, solution.text)
    return step.error_type if step else "other"


def _steps(mined: MinedProblem, known: Mapping[str, Any]) -> Iterator[Mistake]:
    seen: set[tuple[str, str]] = set()
    for solution in mined.solutions:
        usable = solution.finished and solution.readable and solution.verdict != "unknown"
        step = first_wrong_step(mined.question, solution.text) if usable else None
        if step is None or (step.prefix, step.wrong_step) in seen:
            continue
        seen.add((step.prefix, step.wrong_step))
        yield Mistake(
            id=f"{mined.id}:{mined.number}/step/{len(seen) - 1}",
            kind="step",
            wrong_answer=solution.answer or "",
            verdict="proved",
            edit_distance=levenshtein(step.right_step, step.wrong_step),
            **step._asdict(),
            **known,
        )
