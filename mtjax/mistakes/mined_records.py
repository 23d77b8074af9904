"""Mined solutions as mistake records: a wrong and a right solution side by side, and the first wrong step."""

import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from mtjax.data.answers import stated_answer
from mtjax.data.arithmetic_checker import first_wrong_step
from mtjax.data.mistake_record import Mistake
from mtjax.data.sources.mined import Mined, MinedProblem, read_mined, solutions_file
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.io.journal import MANIFEST
from mtjax.mistakes.filters import levenshtein

Kind = Literal["solution", "step"]


def mined_mistakes(
    path: str, *, kinds: Collection[Kind] = ("solution", "step"), pairs_per_problem: int | None = None, seed: int = 0
) -> Iterator[Mistake]:
    """The mistakes in a folder or file of mined solutions, problem by problem; InputError for a bad file.

    - "solution": each wrong solution beside a right one of its problem; which one, and which `pairs_per_problem` of the
      wrong ones, is drawn by `seed`. Proved by the final answer.
    - "step": the first wrong step beside the right one if an exact checker proves it wrong (`first_wrong_step`), once
      for solutions that share it.

    Solutions that `mtjax.data.sources.mined.Mined` leaves out by default, such as those with an unknown verdict, are
    left out.
    """
    about = _about(path)
    for mined in read_mined(path):
        known = {"problem_id": mined.id, "question": mined.question, "answer": mined.answer, **about}
        if "solution" in kinds:
            yield from _pairs(mined, known, pairs_per_problem, seed)
        if "step" in kinds:
            yield from _steps(mined, known)


def _about(path: str) -> dict[str, Any]:
    """The fields of records that come from the manifest beside the file."""
    file = pathlib.Path(solutions_file(path)).parent / MANIFEST
    if not file.is_file():
        return {"generator": "sampling"}
    try:
        settings = json.loads(file.read_text())["settings"]
        policy, decode = settings["policy"], settings["decode"]
        model = policy.get("fingerprint") or policy["model"]
        decode = {name: value for name, value in decode.items() if name != "kind"}
        return {"generator": "sampling", "model": model, "seed": settings["seed"], "decode": decode}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"'{file}' cannot be read ({error!r:.100}); mine again, or move it away") from error


def _pairs(mined: MinedProblem, known: Mapping[str, Any], most: int | None, seed: int) -> Iterator[Mistake]:
    reader = Mined(path="")
    right, wrong = (
        sorted(
            (solution for solution in mined.solutions if reader.side_of(solution) == side),
            key=lambda solution: unit(seed, mined.number, side, solution.text),  # noqa: B023  used at once
        )
        for side in ("right", "wrong")
    )
    for number, solution in enumerate(wrong[:most] if right else ()):
        stated = stated_answer(solution.text) is not None  # otherwise its last number need not be its answer
        step = first_wrong_step(mined.question, solution.text)
        yield Mistake(
            id=f"{mined.id}:{mined.number}/solution/{number}", kind="solution",
            right_step=right[number % len(right)].text.strip(), wrong_step=solution.text.strip(),
            wrong_answer=solution.answer or "", error_type=step.error_type if step else "other",
            verdict="proved" if stated else "unproved", judge="final answer" if stated else "", **known,
        )  # fmt: skip


def _steps(mined: MinedProblem, known: Mapping[str, Any]) -> Iterator[Mistake]:
    seen: set[tuple[str, str]] = set()
    for solution in mined.solutions:
        usable = solution.finished and solution.readable and solution.verdict != "unknown"
        step = first_wrong_step(mined.question, solution.text) if usable else None
        if step is None or (step.prefix, step.wrong_step) in seen:
            continue
        yield Mistake(
            id=f"{mined.id}:{mined.number}/step/{len(seen)}", kind="step", wrong_answer=solution.answer or "",
            verdict="proved", edit_distance=levenshtein(step.right_step, step.wrong_step), **step._asdict(), **known,
        )  # fmt: skip
        seen.add((step.prefix, step.wrong_step))
