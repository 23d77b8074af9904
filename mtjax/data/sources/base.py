"""The contract of a source, and what sources share: reading records, leaving out bad ones, splits and fingerprints."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar

from mtjax.data.problem import OnError, Problem, Problems, Split, UnknownKeys, in_split
from mtjax.errors import InputError, suggest
from mtjax.io.containers import content_of, files_of, read_rows
from mtjax.io.file_digest import remembered
from mtjax.io.jsonl import field_of, json_of  # noqa: F401  (sources import field_of from here)
from mtjax.registry import Registry
from mtjax.validation import Address


class Source:
    """What every source is: a frozen dataclass with these two methods. A source of one file is a `FileSource`."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems in a fixed order; InputError if there are none. Records that cannot be read: `on_error`."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A digest (hex) of settings and content: it changes where the problems may change."""
        raise NotImplementedError


SOURCES = Registry("source", requires=("problems", "fingerprint"))  # Every source by name.


@dataclasses.dataclass(frozen=True)
class FileSource(Source):
    """A source of files. A subclass needs `parse`, an `example`, and `records` for files other than JSON lines."""

    example: ClassVar[str]  # the text of a small file in the source's format, with at least one problem
    marks: ClassVar[tuple[str, ...]] = ()  # keys that only records of this source have

    path: Annotated[str, Address]
    """A file (JSON lines, a JSON array, CSV, TSV, Parquet or Arrow, plain, gzip or zstd), a folder of such files, or a
    pattern such as `data/*.jsonl.gz`; a relative path counts from the working directory. An address such as
    `gs://bucket/train.jsonl` or `s3://...` is fetched once into the cache."""
    split: Split = "all"  # Which part, by hash of the question: all, train (70 %), validation (10 %) or test (20 %).

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The problem that a record describes; InputError, opened by `where` (path and line), for another form.

        `id` names a problem whose record has no name of its own.
        """
        raise NotImplementedError

    def file(self) -> str:
        """The file to read; `path`, unless a source looks in a folder."""
        return self.path

    def records(self) -> Iterator[tuple[Any, str, str]]:
        """Each record, decoded or as JSON bytes, with `where` and `id`, one by one: see `mtjax.io.containers`."""
        return read_rows(self.file())

    def problems(self, on_error: OnError = "raise") -> Problems:
        return self.stream(on_error).all()

    def stream(
        self, on_error: OnError = "raise", rows: Iterable[tuple[Any, ...]] | None = None, before: "Seen | None" = None
    ) -> "Stream":
        """The problems one by one, without holding all of them in memory.

        Args:
            on_error: what becomes of records that cannot be read.
            rows: some of `records()`; None for all.
            before: what was seen in the records before them.
        """
        return Stream(self._read, self.records() if rows is None else rows, on_error, Seen(self.file(), self.split))

    def _read(self, record: Any, where: str, id: str) -> Problem:
        if isinstance(record, InputError):
            raise record
        problem = self.parse(json_of(record, where) if isinstance(record, bytes) else record, where, id)
        return problem if problem.where else dataclasses.replace(problem, where=where)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes; the same wherever the file lies."""
        header = f"{type(self).__qualname__} {self!r}"
        compute = lambda: fingerprint_of(self, "path", content=content_of(self.file()))
        return remembered(files_of(self.file()), header, compute)


class Seen:
    """What there is to say about the records of a source; that of several parts can be merged, in their order."""

    def __init__(self, name: str, split: Split):
        self.name, self.split = name, split
        self.skipped, self.number, self.first = 0, 0, ""  # records left out, problems, and the first that was left out

    def add(self, problem: Any) -> None:
        """Count one more problem."""
        self.number += 1

    def skip(self, error: str) -> None:
        """Count one more record that is left out."""
        self.skipped, self.first = self.skipped + 1, self.first or error

    def clashes(self, later: Any) -> bool:
        """Whether some of the later records would be refused, had these been known."""
        return False

    def merge(self, later: Any) -> None:
        """Add what was seen in the records that follow."""
        self.skipped, self.number = self.skipped + later.skipped, self.number + later.number
        self.first = self.first or later.first

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence per thing the user should know."""
        return (f"{self.skipped} records skipped; the first: {self.first}",) if self.skipped else ()

    def check(self) -> None:
        """InputError if there are no problems."""
        if not self.number:
            nonempty(Problems([], self.skipped, self.notes), self.name, self.split)


class Stream:
    """The problems (or records with a question) of one split among `make(*row)`, read once, one by one.

    The first bad row raises InputError, unless such are skipped: then they are counted, and the first is noted.
    `seen` is complete when all problems have been read.
    """

    def __init__(self, make: Callable[..., Any], rows: Iterable[tuple[Any, ...]], on_error: OnError, seen: Seen):
        self.make, self.rows, self.on_error, self.seen = make, rows, on_error, seen
        self.items = self._items()

    def _items(self) -> Iterator[Any]:
        for row in self.rows:
            try:
                problem = self.make(*row)
            except InputError as error:
                if self.on_error == "raise":
                    skip = "" if isinstance(error, UnknownKeys) else " (or skip such records with data.on_error=skip)"
                    raise InputError(f"{error}{skip}") from error
                self.seen.skip(str(error))
                continue
            if in_split(problem.question, self.seen.split):
                self.seen.add(problem)
                yield problem

    def all(self) -> Problems:
        """All problems in memory; InputError if there are none."""
        items = list(self.items)
        self.seen.check()
        return Problems(items, self.seen.skipped, self.seen.notes)


def streams(source: Any) -> bool:
    """Whether a source gives its problems one by one, from rows that `records` gives."""
    kind = next(kind for kind in type(source).__mro__ if "problems" in vars(kind))
    return "stream" in vars(kind)


def collect(
    make: Callable[..., Any], rows: Iterable[tuple[Any, ...]], name: str, on_error: OnError, split: Split
) -> Problems:
    """All problems of a `Stream`."""
    return Stream(make, rows, on_error, Seen(name, split)).all()


def readable(make: Callable[..., Any], rows: Iterable[tuple[Any, ...]], split: Split) -> Iterator[Problem]:
    """The problems of one split among `make(*row)`, without the rows that cannot be read."""
    for row in rows:
        with contextlib.suppress(InputError):
            problem = make(*row)
            if in_split(problem.question, split):
                yield problem


def nonempty(problems: Problems, path: str, split: Split) -> Problems:
    """`problems`; InputError if there are none."""
    if not len(problems.items):
        part = "" if split == "all" else f" in its split {split!r}"
        why = f" ({problems.notes[0]})" if problems.notes else ""
        raise InputError(f"'{path}' holds no problem{part}{why}; expected at least one record")
    return problems


@dataclasses.dataclass(frozen=True)
class LazyProblems(Sequence[Problem]):
    """Problems made from stored rows when they are asked for; raises InputError for a row that holds none."""

    make: Callable[[int, Any], Problem]
    rows: Any  # has `len` and `[]`

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        numbers = range(len(self.rows))[index]
        return [self[n] for n in numbers] if isinstance(numbers, range) else self.make(numbers, self.rows[numbers])


def problems_of_rows(
    make: Callable[[int, Any], Problem], rows: Any, name: str, on_error: OnError, split: Split
) -> Problems:
    """Rows as problems: lazily, but read through once where a split or skipping needs to know each of them."""
    if split == "all" and on_error == "raise":
        return nonempty(Problems(LazyProblems(make, rows)), name, split)
    return collect(make, ((number, rows[number]) for number in range(len(rows))), name, on_error, split)


def fingerprint_of(source: Any, *leave_out: str, content: Iterable[bytes] = ()) -> str:
    """sha256 (hex) of a source's class, its settings without those named (paths: content counts), and its content.

    Settings that version 0.1 did not have (`before`) are left out where they reproduce it.
    """
    fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.name not in leave_out}
    before = getattr(source, "before", {})
    fields = {name: value for name, value in fields.items() if name not in before or before[name] != value}
    digest = hashlib.sha256(f"{type(source).__name__} {json.dumps(fields, sort_keys=True)}\0".encode())
    for block in content:
        digest.update(block)
    return digest.hexdigest()


def problem_digests(problems: Iterable[Problem]) -> Iterator[bytes]:
    """sha256 of each problem's record; fields that version 0.1 did not have count where they are not empty."""
    for problem in problems:
        record = _without_new(dataclasses.asdict(problem))
        del record["where"]  # content counts
        yield hashlib.sha256(json.dumps(record, sort_keys=True).encode()).digest()


NEW = {"options", "tools", "candidates", "name", "tool_calls", "tool_call_id", "reasoning_content", "scores"}
NEW |= {"chosen_messages", "rejected_messages", "difficulty"}  # Fields of problems that version 0.1 did not have.


def _without_new(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_new(item) for key, item in value.items() if item or key not in NEW}
    return [_without_new(item) for item in value] if isinstance(value, list | tuple) else value


def rename_keys(record: Any, columns: tuple[str, ...], where: str) -> Any:
    """A record with only the keys that `columns` names, as `key` or `theirs=ours`; unchanged without columns.

    >>> rename_keys({"problem": "1 + 1", "level": 5}, ("problem=question",), "a.jsonl:1")
    {'question': '1 + 1'}
    """
    if not columns or not isinstance(record, dict):
        return record
    pairs = [column.partition("=") for column in columns]
    for theirs, _, _ in pairs:
        if theirs not in record:
            raise InputError(f"{where}: column {theirs!r} is not in the record: {suggest(theirs, map(str, record))}")
    return {ours or theirs: record[theirs] for theirs, _, ours in pairs}
