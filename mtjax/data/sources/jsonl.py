"""JSON lines as a source."""

import dataclasses
from typing import Any, ClassVar

from mtjax.data.problem import Problem, problem_from_record
from mtjax.data.sources.base import SOURCES, FileSource, rename_keys


@SOURCES.register("jsonl")
@dataclasses.dataclass(frozen=True)
class Jsonl(FileSource):
    """One record per line in a schema of `mtjax.data.problem.SCHEMAS`; plain text or gzip (`.gz`)."""

    example: ClassVar[str] = '{"question": "2 + 2?", "answer": "4", "right": ["4"], "wrong": ["5"]}\n'

    columns: tuple[str, ...] = ()  # Keys to take, each `key` or `theirs=ours`; empty takes the record as it is.

    def parse(self, record: Any, where: str, id: str) -> Problem:
        return problem_from_record(rename_keys(record, self.columns, where), where, id=id)
