"""JSON lines as a source, and the reading of records with errors that name the file and the line."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

from mtjax.data.problem import OnError, Problem, Problems, Split, in_split, problem_from_record
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import existing_file, json_of, read_lines

ParseRecord = Callable[[Any, str, str], Problem]
"""`(record, where, id) -> Problem`; `where` opens error messages (path and line), `id` is its short form."""


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


def read_problems(path: str, parse: ParseRecord, on_error: OnError, split: Split = "all") -> Problems:
    """The problems of a JSONL file, each line parsed by `parse`.

    Raises InputError for a missing file, a bad line (unless skipped) and a file without a single problem of the split.
    """

    def attempt(number: int, line: bytes) -> Problem:
        where = f"{path}:{number}"
        return parse(json_of(line, where), where, f"{pathlib.Path(path).name}:{number}")

    attempts = (functools.partial(attempt, number, line) for number, line in read_lines(path))
    return nonempty(collect(attempts, on_error, split), path, split)


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
