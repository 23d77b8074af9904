"""SVAMP: word problems of one and two steps."""

import dataclasses
import decimal
import functools
import json
import math

from mtjax.data.problem import OnError, Problem, Problems, Split
from mtjax.data.sources.base import collect, field_of, file_fingerprint, nonempty
from mtjax.errors import InputError
from mtjax.io.jsonl import existing_file, json_of


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
            body = field_of(record, "Body", str, where).strip()
            question = body + (" " if body.endswith((".", "?", "!", ",")) else ", ")
            question += field_of(record, "Question", str, where).strip()
            said = field_of(record, "Answer", (int, float), where)
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
