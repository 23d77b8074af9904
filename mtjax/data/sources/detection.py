"""Which source reads a file, by the keys of its first record."""

from collections.abc import Iterable
from typing import Any

from mtjax.data.sources.base import SOURCES, FileSource
from mtjax.data.sources.jsonl import Files
from mtjax.errors import InputError, suggest
from mtjax.io.containers import read_rows
from mtjax.io.jsonl import json_of


def marked_source(keys: Iterable[str]) -> str | None:
    """The source whose records alone have such keys, such as mistake records; None for the formats of `files`."""
    found = (name for name, cls in SOURCES.items() if getattr(cls, "marks", ()) and {*cls.marks} <= {*keys})
    return next(found, None)


def source_of(path: str, source: str = "auto", **settings: Any) -> FileSource:
    """The source that reads a path: by name, or by the keys of the first record, else `Files` with these settings.

    Raises:
        InputError: no such source of files, or settings that it does not have.
    """
    names = [name for name, cls in SOURCES.items() if issubclass(cls, FileSource)]
    if source != "auto" and source not in names:
        raise InputError(f"source {source!r}: {suggest(source, ['auto', *names])}")
    name = source
    if source == "auto":
        record, where, _ = next(read_rows(path), (None, path, ""))
        record = json_of(record, where) if isinstance(record, bytes) else record
        name = (marked_source(record) if isinstance(record, dict) else None) or "files"
    cls = SOURCES[name]
    given = {key: value for key, value in settings.items() if value not in ("auto", ())}
    if given and not issubclass(cls, Files):
        raise InputError(f"{', '.join(given)}: the source '{name}', which reads '{path}', has no such setting")
    return cls(path, **given)
