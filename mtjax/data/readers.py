"""Readers of published data: GSM8K and its model solutions, SVAMP, BIG-Bench Mistake and CoTErrorSet."""

import dataclasses
import decimal
import functools
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mtjax.data.jsonl import collect, file_fingerprint, nonempty, read_problems
from mtjax.data.problem import OnError, Problem, Problems, Split
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import existing_file, json_of, read_lines

_MARKS = re.compile(r"<<.*?>>")


def strip_marks(text: str) -> str:
    """GSM8K text without its calculator marks: `48/2 = <<48/2=24>>24` becomes `48/2 = 24`."""
    return _MARKS.sub("", text)


def _field(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """One field of a published record; InputError when it is missing or of another type."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: got {record!r:.80}; expected an object")
    if key not in record:
        raise InputError(f"{where}: no key {key!r}: is this the right reader? {suggest(key, map(str, record))}")
    if not isinstance(record[key], kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{where}: {key!r} is {record[key]!r:.80}; expected {names}")
    return record[key]


def _final(text: str, mark: str, where: str) -> str:
    """The final answer behind the last `mark`, without thousands separators."""
    _, found, tail = text.rpartition(mark)
    if not found or not tail.strip():
        raise InputError(f"{where}: no final answer behind {mark!r} in {text[-60:]!r}; expected a last line with one")
    return tail.strip().replace(",", "")


@dataclasses.dataclass(frozen=True)
class Gsm8k:
    """GSM8K (`train.jsonl`, `test.jsonl`): word problems with one human solution, which ends in `#### <number>`."""

    path: str
    """The file."""
    split: Split = "all"
    """Which part, by hash of the question."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems; the human solution, without calculator marks, is the right one."""

        def parse(record: Any, where: str, id: str) -> Problem:
            solution = strip_marks(_field(record, "answer", str, where))
            question = _field(record, "question", str, where)
            return Problem(id, question, _final(solution, "####", where), (solution,), source="gsm8k")

        return read_problems(self.path, parse, on_error, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)


@dataclasses.dataclass(frozen=True)
class Gsm8kSolutions:
    """Real right and wrong solutions that four models gave to GSM8K *test* questions (Cobbe et al., 2021).

    Whoever trains on them must not report accuracy on the same questions: train on `split="train"` and evaluate on
    `split="test"`, of this source or of `Gsm8k` over the test file; the hash of the question decides in both.
    """

    path: str
    """The file `example_model_solutions.jsonl`."""
    split: Split = "all"
    """Which part, by hash of the question."""
    reference: bool = False
    """Whether the human solution counts as a right one too; without it, 588 of 1,319 questions lack one side."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems with the models' solutions, without calculator marks; each ends in `A: <number>`."""

        def parse(record: Any, where: str, id: str) -> Problem:
            truth = strip_marks(_field(record, "ground_truth", str, where))
            answer = _final(truth, "A:", where)
            sides: dict[bool, list[str]] = {True: [truth] if self.reference else [], False: []}
            for model in record.keys() - {"question", "ground_truth"}:
                _field(record, model, dict, where)
            for model in sorted(record.keys() - {"question", "ground_truth"}):
                verdict = _field(record[model], "is_correct", bool, f"{where}: {model}")
                text = strip_marks(_field(record[model], "solution", str, f"{where}: {model}"))
                sides[verdict].append(text)
            right, wrong = tuple(sides[True]), tuple(sides[False])
            return Problem(id, _field(record, "question", str, where), answer, right, wrong, source="gsm8k_solutions")

        return read_problems(self.path, parse, on_error, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)


@dataclasses.dataclass(frozen=True)
class Svamp:
    """SVAMP (`SVAMP.json`): 1,000 one- and two-step word problems with an answer and no solution."""

    path: str
    """The file, one JSON list."""
    split: Split = "all"
    """Which part, by hash of the question."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems; the question is body and question, joined by ", " where the body does not end a sentence."""
        file = existing_file(self.path)
        records = json_of(file.read_bytes(), self.path)
        if not isinstance(records, list):
            raise InputError(f"{self.path}: got {type(records).__name__}; expected one JSON list of records")

        def parse(number: int) -> Problem:
            record, where = records[number], f"{self.path}: record {number}"
            body = _field(record, "Body", str, where).strip()
            question = body + (" " if body.endswith((".", "?", "!", ",")) else ", ")
            question += _field(record, "Question", str, where).strip()
            said = _field(record, "Answer", (int, float), where)
            if isinstance(said, bool) or not math.isfinite(said):
                raise InputError(f"{where}: 'Answer' is {json.dumps(said)}; expected a number")
            value = decimal.Decimal(str(said))
            answer = str(int(value)) if value == value.to_integral_value() else str(value)
            return Problem(str(record.get("ID", f"{file.name}[{number}]")), question, answer, source="svamp")

        attempts = (functools.partial(parse, number) for number in range(len(records)))
        return nonempty(collect(attempts, on_error, self.split), self.path, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)


class Trace(NamedTuple):
    """One chain of thought of BIG-Bench Mistake.

    Attributes:
        problem: question, true answer, and the whole chain as its right or wrong solution.
        steps: the chain's steps.
        answer: the answer the chain arrives at; "" where it arrives at none.
        first_wrong: 0-based number of the first wrong step; None where no step is marked.
    """

    problem: Problem
    steps: tuple[str, ...]
    answer: str
    first_wrong: int | None


def _trace(record: Any, where: str, id: str) -> Trace:
    steps = _field(record, "steps", list, where)
    mistake = _field(record, "mistake_index", (int, type(None)), where)
    target, answer = _field(record, "target", str, where), _field(record, "answer", (str, type(None)), where) or ""
    if not all(isinstance(step, str) for step in steps):
        raise InputError(f"{where}: 'steps' is {steps!r:.80}; expected a list of strings")
    if mistake is not None and not 0 <= mistake < len(steps):
        raise InputError(f"{where}: 'mistake_index' is {mistake}; expected null or 0..{len(steps) - 1}")
    text = ("\n".join(steps),)
    good = mistake is None and answer.strip() == target.strip()
    question = _field(record, "input", str, where)
    problem = Problem(id, question, target, text if good else (), () if good else text, source="bigbench_mistake")
    return Trace(problem, tuple(steps), answer, mistake)


@dataclasses.dataclass(frozen=True)
class BigBenchMistake:
    """BIG-Bench Mistake: real chains of thought with the place of the first mistake (Tyen et al., 2024)."""

    path: str
    """One of its files, such as `multistep_arithmetic.jsonl`."""
    split: Split = "all"
    """Which part, by hash of the question."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """One problem per chain; it is right only if its answer is and no step is marked, and wrong otherwise.

        A right final answer can hold a mistake, and a wrong one can have none marked: both count as wrong.
        """
        return read_problems(self.path, lambda *given: _trace(*given).problem, on_error, self.split)

    def traces(self) -> Iterator[Trace]:
        """The chains of all splits, with their steps and the first wrong one; InputError at a bad record."""
        for number, line in read_lines(self.path):
            where = f"{self.path}:{number}"
            yield _trace(json_of(line, where), where, where)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)


COT_ERROR_KEYS = {
    "question": ("question", "input"),
    "right": ("correct_reference", "correct_rationale", "reference"),
    "wrong": ("incorrect_rationale", "incorrect_reference"),
}
"""Where `CotErrorSet` finds its three fields; case, spaces and hyphens of a key do not matter."""


@dataclasses.dataclass(frozen=True)
class CotErrorSet:
    """CoTErrorSet records: a question, the human rationale, and the wrong rationale of a model (Tong et al., 2024).

    Field names follow the paper's table (question, correct reference, incorrect rationale); what it says of the cause
    (error cause, error name, error type) is not part of a `Problem` and is left out.
    """

    path: str
    """A JSONL file."""
    split: Split = "all"
    """Which part, by hash of the question."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """One problem per record, with one right and one wrong solution; no separate final answer."""

        def parse(record: Any, where: str, id: str) -> Problem:
            if not isinstance(record, dict):
                raise InputError(f"{where}: got {json.dumps(record):.80}; expected an object")
            plain = {re.sub(r"[ -]", "_", str(key).lower()): value for key, value in record.items()}
            found = {}
            for ours, names in COT_ERROR_KEYS.items():
                key = next((name for name in names if name in plain), names[0])
                found[ours] = _field(plain, key, str, where)
            return Problem(
                id, found["question"], right=(found["right"],), wrong=(found["wrong"],), source="cot_error_set"
            )

        return read_problems(self.path, parse, on_error, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)
