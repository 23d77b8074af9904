"""SVAMP: word problems of one and two steps."""

import dataclasses
import decimal
import json
import math
from collections.abc import Iterator
from typing import Any, ClassVar

from mtjax.data.problem import Problem
from mtjax.data.sources.base import SOURCES, FileSource, field_of
from mtjax.errors import InputError
from mtjax.io.jsonl import existing_file, json_of, open_plain


@SOURCES.register("svamp")
@dataclasses.dataclass(frozen=True)
class Svamp(FileSource):
    """SVAMP (`SVAMP.json`, one JSON list): 1,000 one- and two-step word problems with an answer and no solution.

    Source: Patel et al., "Are NLP Models really able to Solve Simple Math Word Problems?", NAACL 2021
    (arXiv 2103.07191).
    """

    marks: ClassVar[tuple[str, ...]] = ("Body", "Question", "Answer")
    example: ClassVar[str] = (
        '[{"ID": "chal-1", "Body": "A pack costs 76 dollars.", "Question": "How much are 2?", "Answer": 152.0}]'
    )

    def records(self) -> Iterator[tuple[Any, str, str]]:
        file = existing_file(self.path)
        with open_plain(self.path) as opened:
            records = json_of(opened.read(), self.path)
        if not isinstance(records, list):
            raise InputError(f"{self.path}: got {type(records).__name__}; expected one JSON list of records")
        for number, record in enumerate(records):
            yield record, f"{self.path}: record {number}", f"{file.name}[{number}]"

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The question is body and question, joined by ", " where the body does not end a sentence."""
        body = field_of(record, "Body", str, where).strip()
        gap = " " if body.endswith((".", "?", "!", ",")) else ", "
        question = body + gap + field_of(record, "Question", str, where).strip()
        given = field_of(record, "Answer", (int, float), where)
        if isinstance(given, bool) or not math.isfinite(given):
            raise InputError(f"{where}: 'Answer' is {json.dumps(given)}; expected a number")
        value = decimal.Decimal(str(given))
        answer = str(int(value)) if value == value.to_integral_value() else str(value)
        return Problem(str(record.get("ID", id)), question, answer, source="svamp")
