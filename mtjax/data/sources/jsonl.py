"""JSON lines as a source."""

import dataclasses
from typing import Any

from mtjax.data.problem import OnError, Problems, Split, problem_from_record
from mtjax.data.sources.base import file_fingerprint, read_problems, rename_keys
from mtjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Jsonl:
    """One record per line in a schema of `mtjax.data.problem.SCHEMAS`; plain text or gzip (`.gz`)."""

    path: str
    """The file; a relative path counts from the working directory."""
    split: Split = "all"
    """Which part, by hash of the question: all of it, or train (70 %), validation (10 %) or test (20 %)."""
    columns: tuple[str, ...] = ()
    """Keys to take, each `key` or `theirs=ours`; empty takes the record as it is."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """All problems of the split, in the order of the file."""
        parse = lambda record, where, id: problem_from_record(_renamed(record, self.columns, where), where, id=id)
        return read_problems(self.path, parse, on_error, self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.path)


def _renamed(record: Any, columns: tuple[str, ...], where: str) -> Any:
    try:
        return rename_keys(record, columns)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
