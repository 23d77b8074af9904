"""GSM8K, and the real right and wrong solutions that four models gave to its test questions."""

import dataclasses
import re
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError


def strip_marks(text: str) -> str:
    """GSM8K text without its calculator marks: `48/2 = <<48/2=24>>24` becomes `48/2 = 24`."""
    return re.sub("<<.*?>>", "", text)


def _final_answer(text: str, mark: str, where: str) -> str:
    """The final answer after the last `mark`, without thousands separators."""
    _, _, tail = text.rpartition(mark)
    if mark not in text or not tail.strip():
        raise InputError(f"{where}: no final answer after {mark!r} in {text[-60:]!r}; expected a last line with one")
    return tail.strip().replace(",", "")


@SOURCES.register("gsm8k")
@dataclasses.dataclass(frozen=True)
class Gsm8k(FileSource):
    """GSM8K (`train.jsonl`, `test.jsonl`): word problems with one human solution, which ends in `#### <number>`.

    Source: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021 (arXiv 2110.14168).
    """

    example: ClassVar[str] = '{"question": "6 + 1?", "answer": "6 + 1 = <<6+1=7>>7\\n#### 7"}\n'

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The human solution, without calculator marks, is the right one."""
        solution = strip_marks(field_of(record, "answer", str, where))
        question = field_of(record, "question", str, where)
        return Problem(id, question, _final_answer(solution, "####", where), (solution,), source="gsm8k")


@SOURCES.register("gsm8k_solutions")
@dataclasses.dataclass(frozen=True)
class Gsm8kSolutions(FileSource):
    """Right and wrong solutions that four models gave to GSM8K *test* questions (`example_model_solutions.jsonl`).

    Whoever trains on them must not report accuracy on the same questions: train on `split="train"` and evaluate on
    `split="test"`, of this source or of `Gsm8k` over the test file; the hash of the question decides in both.

    Source: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021 (arXiv 2110.14168).
    """

    marks: ClassVar[tuple[str, ...]] = ("question", "ground_truth")
    example: ClassVar[str] = (
        '{"question": "6 + 1?", "ground_truth": "6 + 1 = 7\\nA: 7",'
        ' "6b": {"is_correct": false, "solution": "6 + 1 = 8\\nA: 8"}}\n'
    )

    reference: bool = False
    """Whether the human solution counts as a right one too; without it, 588 of 1,319 questions lack one side."""

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The models' solutions, without calculator marks; each ends in `A: <number>`."""
        truth = strip_marks(field_of(record, "ground_truth", str, where))
        answer = _final_answer(truth, "A:", where)
        sides: dict[bool, list[str]] = {True: [truth] if self.reference else [], False: []}
        for model in sorted(record.keys() - {"question", "ground_truth"}):
            entry, here = field_of(record, model, dict, where), f"{where}: {model}"
            verdict = field_of(entry, "is_correct", bool, here)
            sides[verdict].append(strip_marks(field_of(entry, "solution", str, here)))
        right, wrong = tuple(sides[True]), tuple(sides[False])
        return Problem(id, field_of(record, "question", str, where), answer, right, wrong, source="gsm8k_solutions")
