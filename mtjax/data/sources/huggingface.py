"""Data sets of the Hugging Face hub as a source (optional extra `hub`)."""

import dataclasses
from typing import Any

from mtjax.data.problem import OnError, Problem, Problems, Split, problem_from_record, without_nulls
from mtjax.data.sources.base import (
    SOURCES,
    Source,
    fingerprint_of,
    problem_digests,
    problems_of_rows,
    readable,
    rename_keys,
)
from mtjax.data.tokenizer import first_line
from mtjax.errors import InputError


@SOURCES.register("hub")
@dataclasses.dataclass(frozen=True)
class Hub(Source):
    """A data set that `datasets.load_dataset` can load: an id of the Hugging Face hub or a local folder."""

    path: str  # The id (`openai/gsm8k`) or the folder.
    subset: str | None = None  # Its configuration, such as "main"; None where there is only one.
    part: str = "train"  # Its own split, such as "train" or "test".
    columns: tuple[
        str, ...
    ] = ()  # Columns to take, each `key` or `theirs=ours`, as a record in a schema; empty takes all.
    split: Split = "all"  # Which part of those, by hash of the question.

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems, read lazily; InputError without the package `datasets`, without network, or for a bad name."""
        return problems_of_rows(self._problem, self._rows(), self.path, on_error, self.split)

    def _rows(self) -> Any:
        try:
            import datasets
        except ImportError as error:
            raise InputError(
                f"Hub({self.path!r}) needs the package 'datasets': run pip install -e '.[hub]' in mtjax's folder, or "
                "use JSONL"
            ) from error
        try:
            return datasets.load_dataset(self.path, self.subset, split=self.part)
        except Exception as error:  # datasets raises many kinds: no network, no such set, no such split
            raise InputError(
                f"data set {self.path!r} (subset {self.subset!r}, part {self.part!r}) cannot be loaded: "
                f"{first_line(error):.200}; check the names and the network, or give a local folder"
            ) from error

    def _problem(self, number: int, row: Any) -> Problem:
        where = f"{self.path}[{number}]"
        # A table fills up what other rows have with nulls, in the arguments of tools too.
        return problem_from_record(without_nulls(rename_keys(dict(row), self.columns, where), keep=()), where)

    def fingerprint(self) -> str:
        """sha256 of settings and content; reads the entire set once."""
        return fingerprint_of(
            self, content=problem_digests(readable(self._problem, enumerate(self._rows()), self.split))
        )
