"""Mistake records from published data and from the pairs of other frameworks, and pairs for those."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mtjax.data.answers import extract_answer
from mtjax.data.mistake_record import Mistake
from mtjax.data.sources.bigbench_mistake import Trace
from mtjax.data.sources.cot_error_set import COT_ERROR_KEYS
from mtjax.data.sources.gsm8k import strip_marks
from mtjax.errors import InputError, suggest
from mtjax.mistakes.injectors.base import compared

RISE_KEYS = ("idx", "dataset", "prompt", "initial_reason_steps", "chosen", "rejected", "answer")
"""What a RISE pair record holds; those of steps also have `step` and `last_step`."""


def _text(record: Any, key: str, where: str) -> str:
    if not isinstance(record, Mapping) or key not in record:
        keys = sorted(map(str, record)) if isinstance(record, Mapping) else []
        raise InputError(f"{where}: no key {key!r}: is this the right converter? {suggest(key, keys)}")
    if not isinstance(record[key], str):
        raise InputError(f"{where}: {key!r} is {record[key]!r:.80}; expected a string")
    return record[key]


def _solution_pair(id: str, problem_id: str, question: str, right: str, wrong: str, **known: Any) -> Mistake:
    return Mistake(
        id=id, kind="solution", problem_id=problem_id, question=question, right_step=right, wrong_step=wrong, **known
    )


def from_gsm8k_solutions(record: Any, where: str, *, reference: bool = False) -> list[Mistake]:
    """GSM8K's model solutions (`example_model_solutions.jsonl`): every right with every wrong one of a question.

    Calculator marks are removed. `model` names who wrote the wrong side; the verdict is the data's own, by final
    answer. With `reference` the human solution counts as a right one.
    """
    question, truth = _text(record, "question", where), strip_marks(_text(record, "ground_truth", where))
    sides: dict[bool, list[tuple[str, str]]] = {True: [("reference", truth)] if reference else [], False: []}
    for model in sorted(record.keys() - {"question", "ground_truth"}):
        entry = record[model]
        if not isinstance(entry, Mapping) or not isinstance(entry.get("is_correct"), bool):
            raise InputError(f"{where}: {model!r} is {entry!r:.80}; expected is_correct and solution")
        sides[entry["is_correct"]].append((model, strip_marks(_text(entry, "solution", f"{where}: {model}"))))
    return [
        _solution_pair(
            f"{where}/{right_model}/{model}", where, question, right, wrong,
            answer=extract_answer(truth) or "", wrong_answer=extract_answer(wrong) or "", verdict="proved",
            judge="final answer", generator="gsm8k_solutions", model=model,
        )
        for (right_model, right), (model, wrong) in itertools.product(sides[True], sides[False])
    ]  # fmt: skip


def from_bigbench_mistake(trace: Trace) -> Mistake | None:
    """A chain of BIG-Bench Mistake, cut at its first wrong step; None where no step is marked.

    What would have been right there is not known, so it makes no pair by itself.
    """
    if trace.first_wrong is None:
        return None
    k, steps = trace.first_wrong, trace.steps
    return Mistake(
        id=f"{trace.problem.id}/step/{k}",
        kind="step",
        problem_id=trace.problem.id,
        question=trace.problem.question,
        answer=trace.problem.answer,
        prefix="".join(step + "\n" for step in steps[:k]),
        wrong_step=steps[k],
        wrong_rest="".join("\n" + step for step in steps[k + 1 :]),
        wrong_answer=trace.answer,
        verdict="proved",
        judge="annotator",
        generator="bigbench_mistake",
    )


def from_cot_error_set(record: Any, where: str) -> Mistake:
    """A CoTErrorSet record: question, human rationale, and a model's wrong rationale; keys in either spelling."""
    if not isinstance(record, Mapping):
        raise InputError(f"{where}: got {record!r:.80}; expected an object with question and both rationales")
    plain = {re.sub(r"[ -]", "_", str(key).lower()): value for key, value in record.items()}
    found = {
        ours: _text(plain, next((name for name in names if name in plain), names[0]), where)
        for ours, names in COT_ERROR_KEYS.items()
    }
    return _solution_pair(
        where, where, found["question"], found["right"], found["wrong"],
        verdict="proved", judge="annotator", generator="cot_error_set",
    )  # fmt: skip


def from_rise(record: Any, where: str) -> Mistake:
    """A RISE pair record: a full pair where `initial_reason_steps` is empty, else a step behind those.

    The record does not say whether the rejected side was checked, so it is unproved.
    """
    texts = {key: _text(record, key, where) for key in ("prompt", "initial_reason_steps", "chosen", "rejected")}
    missing = [key for key in ("idx", "dataset", "answer") if key not in record]
    if missing:
        raise InputError(f"{where}: no key {missing[0]!r}; a RISE pair record has {', '.join(RISE_KEYS)}")
    prefix, chosen, rejected = texts["initial_reason_steps"], texts["chosen"], texts["rejected"]
    name = f"{record['dataset']}:{record['idx']}"
    step = bool(prefix)
    return Mistake(
        id=f"{name}/step/{record.get('step', 0)}" if step else f"{name}/solution",
        kind="step" if step else "solution",
        problem_id=name,
        question=texts["prompt"],
        answer=str(record["answer"]),
        prefix=prefix,
        right_step=chosen,
        wrong_step=rejected,
        generator="rise",
        **(compared(chosen, rejected) if step else {}),
    )


def to_trl(mistake: Mistake) -> dict[str, str]:
    """The pair in TRL's convention: `prompt` (the question, and the right steps so far), `chosen`, `rejected`.

    The question goes in as it stands, and steps follow it on a line of their own. Raises InputError for a record
    without a right side.
    """
    if not mistake.right_step:
        raise InputError(f"mistake {mistake.id!r} has no right side, and a pair needs one; leave it out")
    if mistake.kind == "solution":
        return {"prompt": mistake.question, "chosen": mistake.right_solution, "rejected": mistake.wrong_solution}
    gap = "" if mistake.question.endswith("\n") else "\n"
    return {
        "prompt": mistake.question + gap + mistake.prefix,
        "chosen": mistake.right_step,
        "rejected": mistake.wrong_step,
    }


def from_trl(record: Any, where: str) -> Mistake:
    """A TRL preference record as a pair of whole solutions, unproved; `to_trl` gives it back.

    `chosen` and `rejected` are strings, or conversations whose last message is the answer; a conversational `prompt` is
    one user message, and may be left out where both conversations open with it.
    """
    if not isinstance(record, Mapping) or not {"chosen", "rejected"} <= record.keys():
        raise InputError(f"{where}: got {json.dumps(record, default=str):.80}; expected prompt, chosen and rejected")
    if isinstance(record["chosen"], str):
        prompt, chosen, rejected = (_text(record, key, where) for key in ("prompt", "chosen", "rejected"))
    else:
        prompt, chosen, rejected = _conversation(record, where)
    return _solution_pair(where, where, prompt, chosen, rejected, generator="trl")


def _conversation(record: Any, where: str) -> tuple[str, str, str]:
    """Prompt, chosen and rejected texts of a conversational record."""
    opening = _messages(record.get("prompt", []), where)
    sides = [[*opening, *_messages(record[key], where)] for key in ("chosen", "rejected")]
    for side in sides:
        if [role for role, _ in side] != ["user", "assistant"]:
            roles = ", ".join(role for role, _ in side)
            raise InputError(f"{where}: messages of {roles or 'nobody'}; expected one of the user, then the answer")
    if sides[0][0] != sides[1][0]:
        raise InputError(f"{where}: chosen and rejected answer different questions; a pair answers one")
    return sides[0][0][1], sides[0][1][1], sides[1][1][1]


def _messages(value: Any, where: str) -> Sequence[tuple[str, str]]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: got {value!r:.80}; expected a list of messages")
    return [(_text(message, "role", where), _text(message, "content", where)) for message in value]
