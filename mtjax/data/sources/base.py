"""The contract of a source, and what sources share: reading records, leaving out bad ones, splits and fingerprints."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from mtjax.data.problem import OnError, Problem, Problems, Split, in_split
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import existing_file, json_of, read_lines
from mtjax.registry import Registry


def collect(attempts: Iterable[Callable[[], Problem]], on_error: OnError, split: Split) -> Problems:
    """The problems of one split among `attempts`: a bad one is raised, or counted and the first one noted."""
    items, skipped, first = [], 0, ""
    for make in attempts:
        try:
            problem = make()
        except InputError as error:
            if on_error == "raise":
                raise InputError(f"{error} (or skip such records with data.on_error=skip)") from error
            skipped, first = skipped + 1, first or str(error)
            continue
        if in_split(problem.question, split):
            items.append(problem)
    notes = (f"{skipped} records skipped; the first: {first}",) if skipped else ()
    return Problems(items, skipped, notes)


def nonempty(problems: Problems, path: str, split: Split) -> Problems:
    """`problems`; InputError when there are none."""
    if not len(problems.items):
        part = "" if split == "all" else f" in its split {split!r}"
        why = f" ({problems.notes[0]})" if problems.notes else ""
        raise InputError(f"'{path}' holds no problem{part}{why}; expected at least one record")
    return problems


def settings_digest(source: Any, *leave_out: str) -> Any:
    """A sha256 that has taken in a source's class and settings, but not those named (paths: content counts)."""
    fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.name not in leave_out}
    return hashlib.sha256(f"{type(source).__name__} {json.dumps(fields, sort_keys=True)}\0".encode())


def file_fingerprint(source: Any, path: str) -> str:
    """sha256 (hex) over a source's settings and the bytes of its file; the same wherever the file lies."""
    digest = settings_digest(source, "path")
    with existing_file(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def rename_keys(record: Any, columns: tuple[str, ...]) -> Any:
    """A record with only the keys that `columns` names, as `key` or `theirs=ours`; unchanged without columns.

    >>> rename_keys({"problem": "1 + 1", "level": 5}, ("problem=question",))
    {'question': '1 + 1'}
    """
    if not columns or not isinstance(record, dict):
        return record
    pairs = [column.partition("=") for column in columns]
    for theirs, _, _ in pairs:
        if theirs not in record:
            raise InputError(f"column {theirs!r} is not in the record: {suggest(theirs, map(str, record))}")
    return {ours or theirs: record[theirs] for theirs, _, ours in pairs}


class LazyProblems(Sequence[Problem]):
    """Problems made from stored rows when they are asked for; raises InputError for a row that holds none."""

    def __init__(self, rows: Any, make: Callable[[Any, int], Problem]):
        """`rows` has `len` and `[]`; `make(row, number)` turns one into a problem."""
        self._rows, self._make = rows, make

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """The problem at an index, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]  # also counts from the end, and raises IndexError beyond it
        return self._make(self._rows[number], number)

    def __iter__(self) -> Iterator[Problem]:
        """The problems in order."""
        return (self[number] for number in range(len(self)))


def problems_of_rows(
    rows: Any, make: Callable[[Any, int], Problem], name: str, on_error: OnError, split: Split
) -> Problems:
    """Rows as problems: lazily, but read through once where a split or skipping needs to know each of them."""
    if split == "all" and on_error == "raise":
        return nonempty(Problems(LazyProblems(rows, make)), name, split)
    attempts = (functools.partial(lambda number: make(rows[number], number), number) for number in range(len(rows)))
    return nonempty(collect(attempts, on_error, split), name, split)


def content_digest(digest: Any, problems: Sequence[Problem]) -> str:
    """sha256 (hex) of what `digest` has taken in and of every problem's record."""
    for problem in problems:
        record = json.dumps(dataclasses.asdict(problem), sort_keys=True)
        digest.update(hashlib.sha256(record.encode()).digest())
    return digest.hexdigest()


def field_of(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """One field of a published record; InputError when it is missing or of another type."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: got {record!r:.80}; expected an object")
    if key not in record:
        raise InputError(f"{where}: no key {key!r}: is this the right reader? {suggest(key, map(str, record))}")
    if not isinstance(record[key], kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{where}: {key!r} is {record[key]!r:.80}; expected {names}")
    return record[key]


def final_answer(text: str, mark: str, where: str) -> str:
    """The final answer behind the last `mark`, without thousands separators."""
    _, found, tail = text.rpartition(mark)
    if not found or not tail.strip():
        raise InputError(f"{where}: no final answer behind {mark!r} in {text[-60:]!r}; expected a last line with one")
    return tail.strip().replace(",", "")


class Source:
    """What every source is: a frozen dataclass with these two methods. A source of one file is a `FileSource`."""

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems in a fixed order.

        A record that cannot be read is an InputError, or is left out and counted with `on_error="skip"`. InputError
        where there are no problems.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A digest (hex) of settings and content: it changes where the problems may change."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class FileSource(Source):
    """A source of one file; a subclass says what one record of it is.

    A subclass needs `parse`, and an `example` for its contract tests. Files other than JSON lines need `records` too.

    Attributes:
        example: the text of a small file in the source's format, with at least one problem.
    """

    example: ClassVar[str]

    path: str  # The file; a relative path counts from the working directory.
    split: Split = "all"
    """Which part, by hash of the question: all of it, or train (70 %), validation (10 %) or test (20 %)."""

    def parse(self, record: Any, where: str, id: str) -> Problem:
        """The problem that a record describes; InputError for a record of another form.

        `where` opens error messages (path and line); `id` names a problem whose record has no name of its own.
        """
        raise NotImplementedError

    def file(self) -> str:
        """The file to read; `path`, unless a source looks in a folder."""
        return self.path

    def records(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        """Each record as (where, id, a function that reads it): the lines of a JSON-lines file, plain or `.gz`."""
        name = pathlib.Path(self.file()).name
        for number, line in read_lines(self.file()):
            where = f"{self.file()}:{number}"
            yield where, f"{name}:{number}", functools.partial(json_of, line, where)

    def problems(self, on_error: OnError = "raise") -> Problems:
        """The problems of the split, in the order of the file."""
        attempts = (
            functools.partial(lambda where, id, read: self.parse(read(), where, id), *found) for found in self.records()
        )
        return nonempty(collect(attempts, on_error, self.split), self.file(), self.split)

    def fingerprint(self) -> str:
        """sha256 of settings and file bytes."""
        return file_fingerprint(self, self.file())


SOURCES = Registry("source", requires=("problems", "fingerprint"))
"""Every source by name."""
