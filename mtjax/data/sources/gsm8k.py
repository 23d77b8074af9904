"""GSM8K, and the real right and wrong solutions that four models gave to its test questions."""

import dataclasses
import re
from typing import Any, ClassVar

from mtjax.data.problem import Problem, Split
from mtjax.data.sources.base import SOURCES, FileSource, field_of, final_answer

_MARKS = re.compile(r"<<.*?>>")


def strip_marks(text: str) -> str:
    """GSM8K text without its calculator marks: `48/2 = <<48/2=24>>24` becomes `48/2 = 24`."""
    return _MARKS.sub("", text)


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
        return Problem(id, question, final_answer(solution, "####", where), (solution,), source="gsm8k")


@SOURCES.register("gsm8k_solutions")
@dataclasses.dataclass(frozen=True)
class Gsm8kSolutions(FileSource):
    """Real right and wrong solutions that four models gave to GSM8K *test* questions.

    Whoever trains on them must not report accuracy on the same questions: train on `split="train"` and evaluate on
    `split="test"`, of this source or of `Gsm8k` over the test file; the hash of the question decides in both.

    Source: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021 (arXiv 2110.14168).
    """

    example: ClassVar[str] = (
        '{"question": "6 + 1?", "ground_truth": "6 + 1 = 7\\nA: 7",'
        ' "6b": {"is_correct": false, "solution": "6 + 1 = 8\\nA: 8"}}\n'
    )

    path: str  # The file `example_model_solutions.jsonl`.
    split: Split = "all"  # Which part, by hash of the question.
    reference: bool = False
    """Whether the human solution counts as a right one too; without it, 588 of 1,319 questions lack one side."""

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The models' solutions, without calculator marks; each ends in `A: <number>`."""
        truth = strip_marks(field_of(record, "ground_truth", str, where))
        answer = final_answer(truth, "A:", where)
        sides: dict[bool, list[str]] = {True: [truth] if self.reference else [], False: []}
        models = sorted(record.keys() - {"question", "ground_truth"})
        for model in models:
            field_of(record, model, dict, where)
        for model in models:
            verdict = field_of(record[model], "is_correct", bool, f"{where}: {model}")
            sides[verdict].append(strip_marks(field_of(record[model], "solution", str, f"{where}: {model}")))
        right, wrong = tuple(sides[True]), tuple(sides[False])
        return Problem(id, field_of(record, "question", str, where), answer, right, wrong, source="gsm8k_solutions")
