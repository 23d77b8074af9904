"""Mistake records from mined solutions, published data and the pairs of other frameworks, and pairs for those."""

import itertools
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from mtjax.data.answers import Verdict, check_answer, extract_answer, options_in, stated_answer
from mtjax.data.arithmetic_checker import first_wrong_step
from mtjax.data.messages import context_text, message_record
from mtjax.data.mistake_record import Mistake
from mtjax.data.sources.base import field_of
from mtjax.data.sources.bigbench_mistake import Trace
from mtjax.data.sources.cot_error_set import CotErrorSet
from mtjax.data.sources.gsm8k import strip_marks
from mtjax.data.sources.mined import Mined, MinedProblem, read_mined, solutions_file
from mtjax.data.sources.rise import Rise
from mtjax.data.sources.trl import Trl
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.io.journal import MANIFEST
from mtjax.mistakes.filters import levenshtein
from mtjax.mistakes.injectors.base import compared

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
        text = context_text(mined.question, mined.messages)
        talk = {"messages": mined.messages, "tools": mined.tools} if len(mined.messages) > 1 or mined.tools else {}
        known = {"problem_id": mined.id, "question": text, "answer": mined.answer, **about, **talk}
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
    place = lambda solution: unit(seed, mined.number, reader.side_of(solution), solution.text)
    drawn = sorted(mined.solutions, key=place)
    right, wrong = ([one for one in drawn if reader.side_of(one) == side] for side in ("right", "wrong"))
    options = options_in(mined.question)
    for number, solution in enumerate(wrong[:most] if right else ()):
        # An earlier version may have judged it, with fewer forms of answers.
        now = check_answer(
            solution.text, mined.answer, question=mined.question, options=options, finished=solution.finished
        )
        if now is Verdict.RIGHT:
            continue
        stated = now is Verdict.WRONG and stated_answer(solution.text, choice=bool(options)) is not None
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


def from_gsm8k_solutions(record: Any, where: str, *, reference: bool = False) -> list[Mistake]:
    """GSM8K's model solutions (`example_model_solutions.jsonl`): every right with every wrong one of a question.

    Calculator marks are removed. `model` names who wrote the wrong side; the verdict is the data's own, by final
    answer. With `reference` the human solution counts as a right one.
    """
    question, truth = (field_of(record, key, str, where) for key in ("question", "ground_truth"))
    truth = strip_marks(truth)
    sides: dict[bool, list[tuple[str, str]]] = {True: [("reference", truth)] if reference else [], False: []}
    for model in sorted(record.keys() - {"question", "ground_truth"}):
        entry, here = field_of(record, model, dict, where), f"{where}: {model}"
        solution = strip_marks(field_of(entry, "solution", str, here))
        sides[field_of(entry, "is_correct", bool, here)].append((model, solution))
    return [
        Mistake(
            id=f"{where}/{right_model}/{model}", kind="solution", problem_id=where, question=question,
            answer=extract_answer(truth) or "", right_step=right, wrong_step=wrong, verdict="proved",
            wrong_answer=extract_answer(wrong) or "", judge="final answer", generator="gsm8k_solutions", model=model,
        )
        for (right_model, right), (model, wrong) in itertools.product(sides[True], sides[False])
    ]  # fmt: skip


def from_bigbench_mistake(trace: Trace) -> Mistake | None:
    """A chain of BIG-Bench Mistake, cut at its first wrong step; None if no step is marked.

    The right step is not known, so the record alone is not a pair.
    """
    if trace.first_wrong is None:
        return None
    k, steps, problem = trace.first_wrong, trace.steps, trace.problem
    return Mistake(
        id=f"{problem.id}/step/{k}", kind="step", problem_id=problem.id, question=problem.question,
        answer=problem.answer, prefix="".join(step + "\n" for step in steps[:k]), wrong_step=steps[k],
        wrong_rest="".join("\n" + step for step in steps[k + 1 :]), wrong_answer=trace.answer, verdict="proved",
        judge="annotator", generator="bigbench_mistake",
    )  # fmt: skip


def from_cot_error_set(record: Any, where: str) -> Mistake:
    """A CoTErrorSet record: question, human rationale, and a model's wrong rationale; keys in either spelling."""
    problem = CotErrorSet(where).parse(record, where, where)
    return Mistake(
        id=where, kind="solution", problem_id=where, question=problem.question, right_step=problem.right[0],
        wrong_step=problem.wrong[0], verdict="proved", judge="annotator", generator="cot_error_set",
    )  # fmt: skip


def from_rise(record: Any, where: str) -> Mistake:
    """A RISE pair record (`mtjax.data.sources.rise`) as a mistake; unproved, because it does not say who checked it."""
    problem = Rise(where).parse(record, where, where)
    (pair,) = problem.pairs
    step = pair.kind == "step"
    return Mistake(
        id=f"{problem.id}/step/{record.get('step', 0)}" if step else f"{problem.id}/solution",
        kind="step" if step else "solution", problem_id=problem.id, question=problem.question, answer=problem.answer,
        prefix=pair.context, right_step=pair.chosen, wrong_step=pair.rejected, generator="rise",
        **(compared(pair.chosen, pair.rejected) if step else {}),
    )  # fmt: skip


def from_trl(record: Any, where: str) -> Mistake:
    """A TRL preference record (`mtjax.data.sources.trl`) as an unproved pair of solutions; `to_trl` gives it back."""
    problem = Trl(where).parse(record, where, where)
    (pair,) = problem.pairs
    if pair.chosen_messages and pair.chosen_messages[0].role == "user":
        raise InputError(f"{where}: chosen and rejected answer different questions; expected one question")
    if problem.messages or pair.chosen_messages:
        roles = ", ".join(one.role for one in (*problem.messages, *pair.chosen_messages))
        raise InputError(
            f"{where}: messages of {roles}; expected one of the user, then the answer: a mistake has one question"
        )
    return Mistake(
        id=where, kind="solution", problem_id=where, question=problem.question, right_step=pair.chosen,
        wrong_step=pair.rejected, generator="trl",
    )  # fmt: skip


def to_trl(mistake: Mistake) -> dict[str, Any]:
    """The pair in TRL's convention: `prompt` (the question, and the right steps so far), `chosen`, `rejected`.

    The question is unchanged, and steps follow it on a line of their own. Of a conversation all three are messages, in
    which the right steps so far begin both sides. InputError for a record without a right side.
    """
    if not mistake.right_step:
        raise InputError(f"mistake {mistake.id!r} has no right side, and a pair needs one; leave it out")
    if mistake.messages:
        sides = {"chosen": mistake.prefix + mistake.right_step, "rejected": mistake.prefix + mistake.wrong_step}
        record: dict[str, Any] = {"prompt": list(map(message_record, mistake.messages))}
        record |= {side: [{"role": "assistant", "content": text}] for side, text in sides.items()}
        return record | ({"tools": list(mistake.tools)} if mistake.tools else {})
    if mistake.kind == "solution":
        return {"prompt": mistake.question, "chosen": mistake.right_solution, "rejected": mistake.wrong_solution}
    gap = "" if mistake.question.endswith("\n") else "\n"
    prompt = mistake.question + gap + mistake.prefix
    return {"prompt": prompt, "chosen": mistake.right_step, "rejected": mistake.wrong_step}
