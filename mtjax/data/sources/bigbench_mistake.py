"""BIG-Bench Mistake: real chains of thought with the place of the first mistake."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from mtjax.data.problem import Candidate, Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError
from mtjax.io.jsonl import json_of


class Trace(NamedTuple):
    """One chain of thought of BIG-Bench Mistake."""

    problem: Problem  # question, true answer, and the complete chain as its right or wrong solution
    steps: tuple[str, ...]  # the chain's steps
    answer: str  # the answer the chain arrives at; "" if it arrives at none
    first_wrong: int | None  # 0-based number of the first wrong step; None if no step is marked


def _trace(record: Any, where: str, id: str) -> Trace:
    steps = field_of(record, "steps", list, where)
    mistake = field_of(record, "mistake_index", (int, type(None)), where)
    target, answer = field_of(record, "target", str, where), field_of(record, "answer", (str, type(None)), where) or ""
    if not all(isinstance(step, str) for step in steps):
        raise InputError(f"{where}: 'steps' is {steps!r:.80}; expected a list of strings")
    if mistake is not None and not 0 <= mistake < len(steps):
        raise InputError(f"{where}: 'mistake_index' is {mistake}; expected null or 0..{len(steps) - 1}")
    text, good = ("\n".join(steps),), mistake is None and answer.strip() == target.strip()
    right, wrong = (text, ()) if good else ((), text)
    # All that is known of the steps behind the first wrong one is that they do not count.
    labels = (
        tuple(mistake is None or number < mistake for number in range(len(steps)))
        if good or mistake is not None
        else ()
    )
    known = (Candidate(text[0], steps=tuple(steps), labels=labels),) if labels else ()
    problem = Problem(
        id, field_of(record, "input", str, where), target, right, wrong, source="bigbench_mistake", candidates=known
    )
    return Trace(problem, tuple(steps), answer, mistake)


@SOURCES.register("bigbench_mistake")
@dataclasses.dataclass(frozen=True)
class BigBenchMistake(FileSource):
    """BIG-Bench Mistake (such as `multistep_arithmetic.jsonl`): chains of thought with the place of the first mistake.

    Source: Tyen et al., "LLMs cannot find reasoning errors, but can correct them given the error location", 2024
    (arXiv 2311.08516).
    """

    marks: ClassVar[tuple[str, ...]] = ("steps", "mistake_index")
    example: ClassVar[str] = (
        '{"input": "1 + 2 * 3 =", "steps": ["2 * 3 = 6.", "1 + 6 = 8."], "answer": "8", "target": "7",'
        ' "mistake_index": 1}\n'
    )

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """One problem per chain, right only if its answer is and no step is marked: either can be wrong alone."""
        return _trace(record, where, id).problem

    def traces(self) -> Iterator[Trace]:
        """The chains of all splits, with their steps and the first wrong one; InputError at a bad record."""
        for line, where, _ in self.records():
            yield _trace(json_of(line, where), where, where)
