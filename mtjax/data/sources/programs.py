"""Problems that programs solve: MBPP, whose answer is its tests, and MathQA-Python, whose answer is a value."""

import dataclasses
from typing import Any, ClassVar, Literal

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError

PARTS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}
"""The published parts of MBPP, by the first and the last task_id."""


@SOURCES.register("mbpp")
@dataclasses.dataclass(frozen=True)
class Mbpp(FileSource):
    """MBPP (`mbpp.jsonl`): short tasks with a program and three tests; the tests are part of the question.

    The answer is the set-up code and the tests, for the grader `program`. The question says what the paper's prompt
    says: the task, and the tests that the code should pass; a program stands between `[BEGIN]` and `[DONE]`. The
    sanitized version (`sanitized-mbpp.json`) is read too: its task is `prompt`, and its `test_imports` are the set-up.

    Source: Austin et al., "Program Synthesis with Large Language Models", 2021 (arXiv 2108.07732).
    """

    marks: ClassVar[tuple[str, ...]] = ("task_id", "test_list")
    example: ClassVar[str] = (
        '{"task_id": 601, "text": "Write a function to add one.", "code": "def f(x):\\n    return x + 1",'
        ' "test_list": ["assert f(1) == 2", "assert f(2) == 3"], "test_setup_code": "", "challenge_test_list": []}\n'
    )

    part: Literal["all", "prompt", "test", "validation", "train"] = "all"
    """Which of the published parts, by task_id: 1-10, 11-510, 511-600, 601-974."""

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The record's own code is the right solution."""
        number = field_of(record, "task_id", int, where)
        tests = field_of(record, "test_list", list, where)
        if not tests or not all(isinstance(test, str) and test.startswith("assert") for test in tests):
            raise InputError(f"{where}: test_list {tests!r:.60}; expected texts that begin with 'assert'")
        imports = record.get("test_imports") or []
        if not isinstance(imports, list) or not all(isinstance(one, str) for one in imports):
            raise InputError(f"{where}: test_imports {imports!r:.60}; expected a list of lines of code")
        setup = "\n".join([*imports, record.get("test_setup_code") or ""])
        key = "prompt" if "prompt" in record and "text" not in record else "text"
        task, listed = field_of(record, key, str, where), "\n".join(tests)
        question = (
            f"You are an expert Python programmer, and here is your task: {task} "
            f"Your code should pass these tests:\n\n{listed}"
        )
        answer = f"{setup.rstrip()}\n{listed}" if setup.strip() else listed
        code = f"[BEGIN]\n{field_of(record, 'code', str, where).strip()}\n[DONE]"
        return Problem(f"mbpp-{number}", question, answer, (code,), source="mbpp")

    def problems(self, on_error: Any = "raise") -> Any:
        """The problems of the part."""
        found = super().problems(on_error)
        if self.part == "all":
            return found
        low, high = PARTS[self.part]
        items = [one for one in found.items if low <= int(one.id.removeprefix("mbpp-")) <= high]
        if not items:
            raise InputError(f"{self.path} has no task of the part {self.part!r} (task_id {low} to {high})")
        return found._replace(items=items)


@SOURCES.register("mathqa_python")
@dataclasses.dataclass(frozen=True)
class MathQaPython(FileSource):
    """MathQA-Python: word problems whose program leaves the result in the variable `answer`.

    For the grader `program_answer`. Records have `text`, `code`, `answer` and `task_id`.

    Source: Austin et al., "Program Synthesis with Large Language Models", 2021 (arXiv 2108.07732); the keys are those
    of `microsoft/TraceCodegen`.
    """

    marks: ClassVar[tuple[str, ...]] = ("task_id", "code", "answer")
    example: ClassVar[str] = (
        '{"task_id": 1, "text": "Six and one?", "code": "n0 = 6.0\\nanswer = n0 + 1", "answer": 7.0}\n'
    )

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The record's own code is the right solution."""
        text, code = (field_of(record, key, str, where) for key in ("text", "code"))
        if "answer" not in record:
            raise InputError(f"{where}: no 'answer' in keys {sorted(record)}; expected the value of the program")
        return Problem(
            f"mathqa-{record.get('task_id', id)}", text, str(record["answer"]), (code.strip(),), source="mathqa_python"
        )
