"""Solutions that somebody judged: our own records of right and wrong ones, and labels of steps."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from mtjax.data.formats.base import FORMATS, LIST, TALK, TEXT, Format, make, numbered, texts_of, truth
from mtjax.data.problem import Candidate, Problem, problem_from_record, record_from_problem
from mtjax.errors import InputError
from mtjax.io.jsonl import field_of


@FORMATS.register("solutions")
class Solutions(Format):
    """Our own records: a question (or prompt) with its final answer, and solutions that are right or wrong."""

    needs: ClassVar = {"question": TEXT}
    takes: ClassVar[tuple[str, ...]] = ("prompt", "answer", "right", "wrong", "success_rate", "options")
    strict: ClassVar = True
    example: ClassVar = {"question": "2 + 2?", "answer": "4", "right": ["4"], "wrong": ["5"]}

    def fits(self, record: Mapping[str, Any]) -> bool:
        keys = {*record} - {"id", "source"}
        known = {*self.needs, *self.takes}
        return keys <= known and bool(keys & {"question", "prompt"}) and bool(keys & {"answer", "right", "wrong"})

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        if not (record.get("right") or record.get("wrong")) and (solved := _as_in_gsm8k(record.get("answer"))):
            self.found["{} answers are solutions that end in '#### ...', as in GSM8K, and are read as such"] += 1
            record = {**record, **solved}
        return problem_from_record(record, where, id=id)

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        if problem.messages and not (len(problem.messages) == 2 and all(one.is_plain for one in problem.messages)):
            return []
        if problem.messages:
            problem = dataclasses.replace(problem, messages=(), right=(problem.messages[1].content,))
        plain = [pair for pair in problem.pairs if not (pair.context or pair.chosen_messages)]
        sides = [((*problem.right, pair.chosen), (*problem.wrong, pair.rejected)) for pair in plain]
        flat = [
            dataclasses.replace(problem, pairs=(), candidates=(), right=right, wrong=wrong)
            for right, wrong in sides or [(problem.right, problem.wrong)]
        ]
        own = ("id", "source")
        return numbered(
            problem,
            (
                {
                    key: value
                    for key, value in record_from_problem(one).items()
                    if key not in own and (value or key == "question")
                }
                for one in flat
                if one.answer or one.right or one.wrong
            ),
        )


def _as_in_gsm8k(answer: Any) -> dict[str, Any] | None:
    """The final answer and the solution of an `answer` that ends in `#### 7` behind a solution; None for others."""
    from mtjax.data.answers import parse_number
    from mtjax.data.sources.gsm8k import strip_marks

    solution, _, final = answer.rpartition("####") if isinstance(answer, str) else ("", "", "")
    if not (solution.strip() and final.strip()) or "\n" in final.strip():
        return None
    final = final.strip()
    number = parse_number(final) is not None  # whose commas separate thousands; those of `(1, 2)` stay
    return {"answer": final.replace(",", "") if number else final, "right": [strip_marks(answer)]}


def _asked(record: dict[str, Any], where: str) -> str:
    """The text of a prompt; of a list of messages, its only one."""
    prompt = field_of(record, "prompt", TALK, where)
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and isinstance(prompt[0], dict) and prompt[0].get("role") == "user":
        return field_of(prompt[0], "content", str, f"{where}: prompt[0]")
    raise InputError(f"{where}: the prompt has {len(prompt)} messages; expected a text, or one message of the user")


@FORMATS.register("stepwise")
class Stepwise(Format):
    """Labels of steps (TRL's stepwise supervision, PRM data): the steps of one solution, and which of them are right.

    The steps, joined by line breaks, are a right solution if all of them are, and a wrong one otherwise.
    """

    needs: ClassVar = {"prompt": TALK, "completions": LIST, "labels": LIST}
    example: ClassVar = {"prompt": "1 + 2 * 3?", "completions": ["2 * 3 = 6.", "1 + 6 = 8."], "labels": [True, False]}

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        steps, given = texts_of(record, "completions", where), field_of(record, "labels", LIST, where)
        labels = tuple(truth(label, f"labels[{number}]", where) for number, label in enumerate(given))
        if len(steps) != len(labels) or not steps:
            raise InputError(f"{where}: {len(steps)} completions and {len(labels)} labels; expected one label per step")
        text = "\n".join(steps)
        side = {"right" if all(labels) else "wrong": [text]}
        problem = make(record, where, id, question=_asked(record, where), **side)
        return dataclasses.replace(problem, candidates=(Candidate(text, steps=tuple(steps), labels=labels),))

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        records = [
            {"prompt": problem.question, "completions": list(one.steps), "labels": list(one.labels)}
            for one in problem.candidates
            if one.labels and not problem.messages
        ]
        return numbered(problem, records)


@FORMATS.register("step_values")
class StepValues(Format):
    """Steps with a value each, from -1 to 1 (AlphaMath's tree search): the last one, 1 or -1, says what is right."""

    needs: ClassVar = {"question": TEXT, "response": LIST}
    strict: ClassVar = True
    example: ClassVar = {
        "question": "1 + 2 * 3?",
        "response": [{"step": "2 * 3 = 6.", "Q": 0.5}, {"step": "7", "Q": 1}],
    }

    def fits(self, record: Mapping[str, Any]) -> bool:
        return super().fits(record) and all(
            isinstance(one, Mapping) and {"step", "Q"} <= {*one} for one in record["response"]
        )

    def read(self, record: dict[str, Any], where: str, id: str) -> Problem:
        steps, values = [], []
        for number, one in enumerate(field_of(record, "response", LIST, where)):
            step: Any = one.get("step") if isinstance(one, Mapping) else None
            value: Any = one.get("Q") if isinstance(one, Mapping) else None
            real = isinstance(value, int | float) and not isinstance(value, bool)
            if not isinstance(step, str) or not real or not -1 <= value <= 1:
                raise InputError(
                    f"{where}: response[{number}] is {one!r:.80}; expected a text as 'step' and as 'Q' a number "
                    "from -1 to 1"
                )
            steps.append(step)
            values.append(float(value))
        if not steps or abs(values[-1]) != 1:
            raise InputError(
                f"{where}: the last 'Q' is {values[-1:]}; expected 1 for a right solution or -1 for a wrong one"
            )
        text = "\n".join(steps)
        problem = make(
            record, where, id, question=record["question"], **{"right" if values[-1] > 0 else "wrong": [text]}
        )
        known = Candidate(text, steps=tuple(steps), values=tuple(values))
        return dataclasses.replace(problem, candidates=(known,))

    def write(self, problem: Problem, number: int) -> list[dict[str, Any]]:
        pairs = [list(zip(one.steps, one.values, strict=True)) for one in problem.candidates if one.values]
        made = [[{"step": step, "Q": value} for step, value in each] for each in pairs]
        return numbered(problem, [{"question": problem.question, "response": each} for each in made])
