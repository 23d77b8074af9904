"""Crash-safe store for numbered JSON records: a killed job resumes without losing or repeating a record.

While a job runs, its records are appended to `<file>.part` in the order they come, each line after the CRC-32 of its
record. At the next start a line that a crash tore is cut off, and a damaged one is moved to `<file>.damaged` and made
again; the others stay. When all are there they are written in order of their numbers to `<file>`, atomically and
without checksums. The manifest, written first, holds the settings that the records depend on; a job with other settings
is refused.
"""

import contextlib
import json
import os
import pathlib
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

from mtjax.errors import InputError, StorageError
from mtjax.io.files import atomic_file, write_text
from mtjax.io.lock import locked

MANIFEST = "manifest.json"
"""The file with what the records of a folder depend on (`settings`) and what else a reader wants to know (`about`)."""

_NUMBER = re.compile(rb'([0-9a-f]{8} )?(\{"schema": [0-9]+, "number": ([0-9]+)[,}].*)\n', re.DOTALL)


class Journal:
    """The records `0 .. count - 1` of one folder, one JSON line each, which begins with `"schema"` and `"number"`.

    The folder is created if it is missing, and locked against a second job until `close`. `settings`, `about` and
    `overwrite` are those of `settle`; `before` is what the manifest held as `about`.

    With `on_first` (`distributed.hosts.on_first`) all processes of a job make the journal and call its methods alike:
    the first one's has the files, and the others know which records are there.

    Raises:
        InputError: the folder belongs to a job with other settings, or another process uses it.
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        file: str,
        count: int,
        settings: Mapping[str, Any],
        about: Mapping[str, Any],
        *,
        overwrite: bool = False,
        on_first: Callable[[Callable[[], Any]], Any] = lambda make: make(),
    ):
        self.folder, self.count = pathlib.Path(folder), count
        self.file, self.part = self.folder / file, self.folder / f"{file}.part"
        self.places: dict[int, tuple[int, int]] = {}  # number -> where its line starts in the part, and its length
        self.finished = False  # whether all records are there, in order
        self.damaged = self.folder / f"{file}.damaged"
        self._stack, self._on_first = contextlib.ExitStack(), on_first
        self._out: BinaryIO | None = None
        self.before, self.finished, there = on_first(lambda: self._open(settings, about, overwrite))
        self.places = self.places or dict.fromkeys(there, (0, 0))

    def _open(self, settings: Mapping[str, Any], about: Mapping[str, Any], overwrite: bool) -> list[Any]:
        """Open the files; what the manifest held as `about`, whether all records are there, and the numbers of some."""
        self._stack.enter_context(locked(self.folder))
        try:
            files = (self.file.name, self.part.name)
            before = settle(self.folder, files, settings, about, overwrite).get("about", {})
            if finished := self.file.is_file():
                self.part.unlink(missing_ok=True)  # a crash may have come between the last two steps of `finish`
            else:
                self._read()
                self._out = self.part.open("ab")
        except BaseException:
            self._stack.close()
            raise
        return [before, finished, list(self.places)]

    def __len__(self) -> int:
        """How many records are there."""
        return self.count if self.finished else len(self.places)

    def missing(self) -> list[int]:
        """Numbers of the records that are not there."""
        return [] if self.finished else [number for number in range(self.count) if number not in self.places]

    def append(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Write records and sync them to disk; a record whose number is there already is not written again."""
        if self._out is None:  # another process writes them
            self.places |= {number: (0, 0) for number, _ in records}
            return
        lines, end = b"", self._out.tell()
        places: dict[int, tuple[int, int]] = {}
        for number, record in records:
            if number not in self.places and number not in places:
                text = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
                line = b"%08x %b\n" % (zlib.crc32(text), text)
                places[number] = (end + len(lines), len(line))
                lines += line
        self._out.write(lines)
        self._out.flush()
        os.fsync(self._out.fileno())
        self.places |= places

    def finish(self) -> None:
        """Write all records in order to the file; RuntimeError if one is missing, StorageError if one is damaged."""
        if self.finished:
            return
        if missing := self.missing():
            raise RuntimeError(f"{len(missing)} of {self.count} records are missing, the first is {missing[0]}")
        self._on_first(self._finish)
        self.finished = True

    def _finish(self) -> None:
        assert self._out is not None
        with self.part.open("rb") as part, atomic_file(self.file) as temporary, temporary.open("wb") as out:
            for number in range(self.count):
                start, length = self.places[number]
                part.seek(start)
                found = _record(part.read(length))
                if found is None or found[0] != number:
                    raise StorageError(
                        f"{self.part}: record {number} is damaged; run the command again to make it again"
                    )
                out.write(found[1] + b"\n")
        self._out.close()
        self.part.unlink()

    def close(self) -> None:
        """Release the folder; its content stays."""
        if self._out is not None:
            self._out.close()
        self._stack.close()

    def _read(self) -> None:
        """Find the complete records, cut off what a crash tore, and set damaged lines aside."""
        if not self.part.exists():
            return
        damaged, end = self._find()
        if damaged:
            with (
                self.part.open("rb") as part, self.damaged.open("ab") as aside,
                atomic_file(self.part) as kept, kept.open("wb") as out,
            ):  # fmt: skip
                for number, line in enumerate(part, 1):
                    (aside if number in damaged else out).write(line)
            listed = ", ".join(map(str, damaged[:8])) + (", ..." if len(damaged) > 8 else "")
            print(
                f"note: {self.part}: {len(damaged)} damaged lines ({listed}) are now in {self.damaged.name}, and "
                "their records are made again",
                flush=True,
            )
            _, end = self._find()
        os.truncate(self.part, end)

    def _find(self) -> tuple[list[int], int]:
        """Note the places of the intact records; the numbers of damaged lines, and where the last whole line ends."""
        self.places, damaged, end = {}, [], 0
        with self.part.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break  # a crash tore it
                found = _record(line)
                if found is None or found[0] >= self.count:
                    damaged.append(number)
                else:
                    self.places.setdefault(found[0], (end, len(line)))
                end += len(line)
        return damaged, end


def _record(line: bytes) -> tuple[int, bytes] | None:
    """Number and text of the record in a line of a part; None if it is damaged.

    Parts of earlier versions have no checksums: a line without one must be JSON.
    """
    match = _NUMBER.fullmatch(line)
    if match is None:
        return None
    try:
        sound = zlib.crc32(match[2]) == int(match[1], 16) if match[1] else isinstance(json.loads(match[2]), dict)
    except ValueError:
        return None
    return (int(match[3]), match[2]) if sound else None


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by their dotted names; a list is a leaf.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    if not isinstance(tree, dict) or not tree:
        return {name: tree}
    return {key: leaf for part, own in tree.items() for key, leaf in flat(own, f"{name}.{part}".lstrip(".")).items()}


SINCE = {"strip": True, "special_tokens": "control"}
"""Settings of tasks whose default has changed since version 0.1, or which it did not have, and what it did."""


def _is_since(name: str, was: dict[str, Any], is_now: dict[str, Any]) -> bool:
    """Whether a setting differs only because version 0.1 began the folder: it knew no `special_tokens`."""
    task, _, last = name.rpartition(".")
    began = f"{task}.special_tokens" in is_now.keys() - was.keys()
    return began and last in SINCE and was.get(name) in (None, SINCE[last])


def settle(
    folder: pathlib.Path, files: Iterable[str], settings: Mapping[str, Any], about: Mapping[str, Any], overwrite: bool
) -> dict[str, Any]:
    """The manifest of a folder: the one that is there, with equal settings, or else a new one, written.

    `settings` (JSON) are what `files` depend on; `about`, what else a reader wants to know, is not compared. With
    `overwrite` the manifest and the files are deleted first. Raises InputError for other settings, naming those that
    differ, for a manifest that cannot be read, and for files without one.
    """
    path = folder / MANIFEST
    for old in (path, *(folder / name for name in files)) if overwrite else ():
        old.unlink(missing_ok=True)
    now = json.loads(json.dumps({"schema": 1, "settings": settings, "about": about}))
    if not path.is_file():
        found = next((name for name in files if (folder / name).exists()), None)
        if found:
            raise InputError(f"'{folder}' has a {found} but no {MANIFEST}; use another folder, or --overwrite")
        write_text(path, json.dumps(now, indent=1, ensure_ascii=False) + "\n")
        return now
    try:
        before = json.loads(path.read_text())
        was = flat(before["settings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"'{path}' cannot be read ({error!r:.100}); use another folder, or --overwrite") from error
    is_now = flat(now["settings"])
    differing = [name for name in (*was, *(is_now.keys() - was.keys())) if was.get(name) != is_now.get(name)]
    since = [name for name in differing if _is_since(name, was, is_now)]
    if other := [name for name in since if is_now[name] != SINCE[name.rpartition(".")[2]]]:
        words = " ".join(f"--{name}={SINCE[name.rpartition('.')[2]]}" for name in other)
        print(f"note: '{folder}' was begun by version 0.1; {words} gives new records the prompts that it gave")
    differing = [name for name in differing if name not in since]
    if differing:
        shown = lambda values, name: format(repr(values[name]), ".60") if name in values else "not set"
        said = "; ".join(f"{name} was {shown(was, name)}, is {shown(is_now, name)}" for name in differing[:8])
        raise InputError(f"'{folder}' was begun with other settings: {said}. Use another folder, or --overwrite")
    return before
