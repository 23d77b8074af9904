"""Data sets of the Hugging Face hub as a source (optional extra `hub`)."""

import contextlib
import dataclasses
from functools import partial
from typing import Any, ClassVar

from mtjax.data.formats import Reader
from mtjax.data.problem import OnError, Problem, Problems, Split, without_nulls
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
    columns: tuple[str, ...] = ()  # Columns to take, each `key` or `theirs=ours`, empty takes all.
    split: Split = "all"  # Which part of those, by hash of the question.
    format: str = "auto"  # Format of all records (`python -m mtjax.list format`); auto recognises each by its keys.
    before: ClassVar[dict[str, Any]] = {"format": "auto"}

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems, read lazily; InputError without the package `datasets`, without network, or for a bad name."""
        reader, rows = Reader(self.format), self._rows()
        found = problems_of_rows(partial(self._problem, reader), rows, self.path, on_error, self.split)
        with contextlib.suppress(InputError):  # rows that are read lazily are refused when they are asked for
            reader.formats or found.items[0]
        return found._replace(notes=(*found.notes, *reader.notes()))

    def _rows(self) -> Any:
        try:
            import datasets
        except ImportError as error:
            raise InputError(
                f"Hub({self.path!r}) needs the package 'datasets': run pip install '.[hub]' in mtjax's folder, or "
                "use JSONL"
            ) from error
        try:
            return datasets.load_dataset(self.path, self.subset, split=self.part)
        except Exception as error:  # datasets raises many kinds: no network, no such set, no such split
            raise InputError(
                f"data set {self.path!r} (subset {self.subset!r}, part {self.part!r}) cannot be loaded: "
                f"{first_line(error):.200}; check the names and the network, or give a local folder"
            ) from error

    def _problem(self, reader: Reader, number: int, row: Any) -> Problem:
        where = f"{self.path}[{number}]"
        # A table fills up what other rows have with nulls, in the arguments of tools too.
        return reader.read(without_nulls(rename_keys(dict(row), self.columns, where), keep=()), where, where)

    def fingerprint(self) -> str:
        """sha256 of settings and content; reads the entire set once."""
        make = partial(self._problem, Reader(self.format))
        return fingerprint_of(self, content=problem_digests(readable(make, enumerate(self._rows()), self.split)))
