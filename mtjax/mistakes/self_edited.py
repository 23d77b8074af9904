"""Mistakes from a model's own edits: which steps to ask about, and what becomes of the answers."""

import dataclasses
import json
import pathlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import Problem
from mtjax.io.hashing import digest
from mtjax.io.journal import Journal
from mtjax.mistakes.inject_config import InjectConfig
from mtjax.mistakes.injection import Rules, Yields, outcome, usable_solutions
from mtjax.mistakes.injectors.base import edited
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, follow_edit, parse_solution
from mtjax.mistakes.self_edit import Editor, EditRequest, edit_request, put_in_place, self_edit


class Asked(NamedTuple):
    """One step that the model is asked to edit.

    Attributes:
        solution: the right solution.
        answer: the final answer that counts as right.
        step: number of the step, from 0.
        request: what is asked.
    """

    solution: ParsedSolution
    answer: str
    step: int
    request: EditRequest


def requests_of(problem: Problem, seed: int, steps: int | None = None) -> list[Asked]:
    """What to ask about one problem: one edit of each step of one right solution, but not of an answer line.

    Solution, templates and (with `steps`, the most to ask about) steps depend on the seed and the problem alone.
    """
    rng = random.Random(int(digest("self_edit", seed, problem.id, problem.question), 16))
    solutions = usable_solutions(problem)
    if not solutions:
        return []
    text, answer = rng.choice(solutions)
    solution = parse_solution(problem.question, text)
    numbers = [k for k, step in enumerate(solution.steps) if not step.answer and step.end > step.start]
    if steps is not None and steps < len(numbers):
        numbers = sorted(rng.sample(numbers, steps))
    asked = []
    for k in numbers:
        prefix = text[: solution.steps[k].start]
        asked.append(Asked(solution, answer, k, edit_request(problem.question, prefix, solution.step_text(k), rng)))
    return asked


def mistakes_of(
    problem: Problem, asked: Sequence[Asked], edits: Sequence[str | None], rules: Rules, yields: Yields,
    known: Mapping[str, Any],
) -> Iterator[Mistake]:  # fmt: skip
    """The mistakes of one problem that are kept: `rules.per_problem` of those that pass, drawn by the seed.

    Args:
        problem: the problem.
        asked: its requests.
        edits: what the model wrote for each; None where it could not be read.
        rules: which are kept.
        yields: counts by the type that was asked for; added to.
        known: fields of the records that are the same for all, such as `model` and `decode`.
    """
    passed = []
    for one, edit in zip(asked, edits, strict=True):
        counts = yields.setdefault(one.request.type, Counter())
        counts["made"] += 1
        if edit is None:
            counts["unparsed"] += 1
            continue
        step = one.solution.steps[one.step]
        wrong = put_in_place(one.solution.step_text(one.step), one.request, edit)
        draft = Draft(one.request.type, step.start, step.end, wrong, follow_edit(one.solution, one.step, wrong))
        record = edited(
            one.solution, draft, id=f"{problem.id}/step/{one.step}", problem_id=problem.id, answer=one.answer,
            generator="self_edit", seed=rules.seed,
        )  # fmt: skip
        verdict, record = outcome(dataclasses.replace(record, **known), rules.alpha)
        counts[verdict] += 1
        if verdict == "proved" or (verdict == "unproved" and rules.keep_unproved):
            passed.append(record)
    rng = random.Random(int(digest("keep", rules.seed, problem.id, problem.question), 16))
    kept = sorted(rng.sample(range(len(passed)), min(rules.per_problem, len(passed))))
    for number in kept:
        yields[passed[number].error_type]["kept"] += 1
        yield passed[number]


def edit_problems(
    settings: InjectConfig, problems: Sequence[Problem], folder: pathlib.Path, depends: dict[str, Any], editor: Editor,
    yields: Yields, log: Callable[[str], None],
) -> Iterator[Mistake]:  # fmt: skip
    """Ask the model about every problem, chunk by chunk, with the answers kept in `folder`; then the mistakes."""
    asked = [requests_of(problem, settings.seed, settings.steps_per_problem) for problem in problems]
    journal = Journal(folder, "edits.jsonl", len(problems), depends, {}, overwrite=settings.overwrite)
    try:
        missing = set(journal.missing())
        if missing and len(missing) < len(problems):
            log(f"{len(problems) - len(missing):,} of {len(problems):,} problems are there already")
        for begin_at in range(0, len(problems), settings.chunk):
            numbers = range(begin_at, min(begin_at + settings.chunk, len(problems)))
            if not missing & set(numbers):
                continue
            # A chunk is decoded again as a whole: in another batch the same prompt may round differently.
            requests = [one.request for n in numbers for one in asked[n]]
            texts = iter(self_edit(requests, editor.generate, editor.render))
            edits = {n: [next(texts) for _ in asked[n]] for n in numbers}
            journal.append((n, {"schema": 1, "number": n, "edits": edits[n]}) for n in numbers)
        journal.finish()
        about = editor.about
        known = {"model": about.get("fingerprint", about["model"]), "decode": about.get("decode", {})}
        with journal.file.open(encoding="utf-8") as lines:
            for problem, one, line in zip(problems, asked, lines, strict=True):
                yield from mistakes_of(problem, one, json.loads(line)["edits"], settings.rules, yields, known)
    finally:
        journal.close()
