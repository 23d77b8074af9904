"""Files of records in any known format, as a source."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

from mtjax.data.formats import FORMATS, Reader
from mtjax.data.problem import OnError, Problem, Problems, Split
from mtjax.data.sources.base import SOURCES, FileSource, Seen, Stream, rename_keys
from mtjax.data.sources.tally import Tally
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import json_of


@SOURCES.register("files")
@dataclasses.dataclass(frozen=True)
class Files(FileSource):
    """Records in any format that is recognised by its keys (docs/data.md), such as messages, Alpaca or preferences."""

    example: ClassVar[str] = '{"question": "2 + 2?", "answer": "4", "right": ["4"], "wrong": ["5"]}\n'
    before: ClassVar[dict[str, Any]] = {"format": "auto"}

    columns: tuple[str, ...] = ()  # Keys to take, each `key` or `theirs=ours`; empty takes the record as it is.
    format: str = "auto"  # Format of all records (`python -m mtjax.list format`); auto recognises each by its keys.

    def __post_init__(self) -> None:
        if self.format != "auto" and self.format not in FORMATS:
            raise InputError(f"source.format={self.format!r}: {suggest(self.format, ['auto', *FORMATS])}")

    def parse(self, record: Any, where: str, id: str) -> Problem:
        return Reader(self.format).read(rename_keys(record, self.columns, where), where, id)

    def problems(self, on_error: OnError = "raise") -> Problems:
        return self.scan(on_error)[0]

    def scan(self, on_error: OnError = "raise") -> tuple[Problems, Reader]:
        """The problems, and the reader that knows the formats of their records."""
        stream = self.stream(on_error)
        return stream.all(), stream.seen.reader

    def stream(
        self, on_error: OnError = "raise", rows: Iterable[tuple[Any, ...]] | None = None, before: Seen | None = None
    ) -> Any:
        earlier = before.reader.first if isinstance(before, SeenRecords) else {}
        reader = Reader(self.format, earlier)

        def read(record: Any, where: str, id: str) -> Problem:
            if isinstance(record, InputError):
                raise record
            record = json_of(record, where) if isinstance(record, bytes) else record
            problem = reader.read(rename_keys(record, self.columns, where), where, id)
            return problem if problem.where else dataclasses.replace(problem, where=where)

        rows = self.records() if rows is None else rows
        return Stream(read, rows, on_error, SeenRecords(self.path, self.split, reader))


class SeenRecords(Seen):
    """What there is to say about records: their formats, and what is odd in them."""

    def __init__(self, name: str, split: Split, reader: Reader):
        super().__init__(name, split)
        self.reader, self.tally = reader, Tally()

    def add(self, problem: Problem) -> None:
        super().add(problem)
        self.tally.add(problem)

    def clashes(self, later: Any) -> bool:
        return self.reader.clashes(later.reader)

    def merge(self, later: Any) -> None:
        super().merge(later)
        self.reader.merge(later.reader)
        self.tally.merge(later.tally)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*super().notes, *self.reader.notes(), *self.tally.notes())


@SOURCES.register("jsonl")
@dataclasses.dataclass(frozen=True)
class Jsonl(Files):
    """The source `files` by the name that it had when it read JSON lines alone."""
