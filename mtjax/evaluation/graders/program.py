"""Run programs: a sample is right if its code passes the problem's tests, or leaves the right value in a variable."""

import dataclasses
import re
from typing import ClassVar

from mtjax.data.answers import Verdict, same_answer
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.answer import gold_answer
from mtjax.evaluation.graders.base import GRADERS
from mtjax.evaluation.sandbox import Ran, Sandbox
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample

FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)


def code_of(text: str) -> str:
    """The program in a text: what follows the last `[BEGIN]` up to `[DONE]`, the last fenced block, or all of it.

    >>> code_of("Sure:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1'
    """
    if "[BEGIN]" in text:
        text = text.rpartition("[BEGIN]")[2]
    text = text.partition("[DONE]")[0]
    blocks = FENCED.findall(text)
    return str(blocks[-1]) if blocks else text


def listed_tests(problem: Problem) -> list[str]:
    """The tests of a problem: its answer, one test for each line that begins with `assert`, after the lines before it.

    >>> listed_tests(Problem("p", "", "import math\\nassert f(1) == 2\\nassert f(2) == 3"))
    ['import math\\nassert f(1) == 2', 'assert f(2) == 3']
    """
    found, lines = [], list[str]()
    for line in problem.answer.splitlines():
        lines.append(line)
        if line.startswith("assert"):
            found.append("\n".join(lines))
            lines = []
    return found


@GRADERS.register("program")
@dataclasses.dataclass(frozen=True)
class ProgramGrader:
    """Right if the sample's program passes all tests of the problem, which are its answer (`data.source:mbpp`).

    Programs run in a sandbox (`mtjax.evaluation.sandbox`). One that takes too long, is killed, or ends before its tests
    is wrong. A problem without tests cannot be decided. InputError where the system cannot keep programs apart.

    Source: Austin et al., "Program Synthesis with Large Language Models", 2021 (arXiv 2108.07732).
    """

    needs_gold: ClassVar[bool] = True

    sandbox: Sandbox = Sandbox()  # Limits of a program.

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        ran = self.run(problem, sample)
        if ran is None:
            return Verdict.UNKNOWN
        return Verdict.RIGHT if ran.outcome == "done" and all(ran.passed) else Verdict.WRONG

    def run(self, problem: Problem, sample: Sample | TokenSample) -> Ran | None:
        """What came of the sample's program; None for a problem without tests, and for a sample that was cut."""
        tests = listed_tests(problem)
        if not tests or not sample.finished:
            return None
        return self.sandbox.tests(code_of(sample.text), tests)


@GRADERS.register("program_answer")
@dataclasses.dataclass(frozen=True)
class ProgramAnswerGrader:
    """Right if the sample's program leaves the problem's answer in a variable (`data.source:mathqa_python`).

    Source: Austin et al., "Program Synthesis with Large Language Models", 2021 (arXiv 2108.07732); that the variable is
    called `answer` is recalled.
    """

    needs_gold: ClassVar[bool] = True

    variable: str = "answer"  # The variable to read.
    sandbox: Sandbox = Sandbox()  # Limits of a program.

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        gold = gold_answer(problem)
        if gold is None or not sample.finished:
            return Verdict.UNKNOWN
        ran = self.sandbox.answer(code_of(sample.text), self.variable)
        if ran.outcome != "done" or ran.answer is None:
            return Verdict.WRONG
        return Verdict.RIGHT if close(ran.answer, gold) else Verdict.WRONG


def close(answer: str, gold: str) -> bool:
    """Whether two values are equal: numbers to one part in 10^6, or as `mtjax.data.answers` reads them.

    >>> close("0.30000000000000004", "0.3"), close("'a'", "a"), close("2", "3")
    (True, True, False)
    """
    try:
        a, b = float(answer), float(gold)
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1.0)
    except ValueError:
        return answer.strip("'\"") == gold or same_answer(answer, gold) is True
