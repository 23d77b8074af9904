"""GSM8K, and the real right and wrong solutions that four models gave to its test questions."""

import dataclasses
import re
from typing import Any

from mtjax.data.problem import OnError, Problem, Problems, Split
from mtjax.data.sources.base import field_of, file_fingerprint, final_answer, read_problems

_MARKS = re.compile(r"<<.*?>>")


def strip_marks(text: str) -> str:
    """GSM8K text without its calculator marks: `48/2 = <<48/2=24>>24` becomes `48/2 = 24`."""
    return _MARKS.sub("", text)


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
            solution = strip_marks(field_of(record, "answer", str, where))
            question = field_of(record, "question", str, where)
            return Problem(id, question, final_answer(solution, "####", where), (solution,), source="gsm8k")

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
            truth = strip_marks(field_of(record, "ground_truth", str, where))
            answer = final_answer(truth, "A:", where)
            sides: dict[bool, list[str]] = {True: [truth] if self.reference else [], False: []}
            for model in record.keys() - {"question", "ground_truth"}:
                field_of(record, model, dict, where)
            for model in sorted(record.keys() - {"question", "ground_truth"}):
                verdict = field_of(record[model], "is_correct", bool, f"{where}: {model}")
                text = strip_marks(field_of(record[model], "solution", str, f"{where}: {model}"))
                sides[verdict].append(text)
            right, wrong = tuple(sides[True]), tuple(sides[False])
            return Problem(id, field_of(record, "question", str, where), answer, right, wrong, source="gsm8k_solutions")

        return read_problems(self.path, parse, on_error, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)
