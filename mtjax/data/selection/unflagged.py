"""Drop the problems that an audit flagged."""

import dataclasses
import pathlib
from collections.abc import Sequence

from mtjax.data.problem import Problem
from mtjax.data.selection.base import SELECTIONS, Selected, Selection
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.io.jsonl import json_of, read_lines


@SELECTIONS.register("unflagged")
@dataclasses.dataclass(frozen=True)
class Unflagged(Selection):
    """Drop the problems with a flag in the `flags.jsonl` of `python -m mtjax.audit`; the source stays as it is.

    Problems are found by their id, which must be unique; one with a flagged text is dropped with all its texts. Flags
    without a proposed repair do not count.
    """

    path: str  # The file.
    checks: tuple[str, ...] = ()  # Flags of these checks count; empty: of all.

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        flagged = set()
        for number, line in read_lines(self.path):
            where = f"{self.path}:{number}"
            record = json_of(line, where)
            if not isinstance(record, dict) or not {"check", "id"} <= record.keys():
                raise InputError(f"{where}: got {record!r:.80}; expected the lines that `python -m mtjax.audit` writes")
            if record.get("fix") and (not self.checks or record["check"] in self.checks):
                flagged.add(record["id"])
        kept = [problem for problem in problems if problem.id not in flagged]
        return self.keep(kept, problems, "flagged by an audit")

    def fingerprint(self) -> str:
        content = pathlib.Path(self.path).expanduser().read_bytes()
        return digest(type(self).__name__, self.checks, content)
