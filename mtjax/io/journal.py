"""A folder that numbered records are collected in, so that a kill at any moment loses and repeats none.

While a job runs its records stand in `<file>.part`, in the order they came; a record that a kill tore off is cut away
at the next start. When all are there they are written in order of their numbers to `<file>`, beside it and renamed. The
manifest, written first, says what the records depend on; a job with other settings is refused.
"""

import fcntl
import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mtjax.errors import InputError
from mtjax.io.files import atomic_file, write_text

MANIFEST = "manifest.json"
"""The file that says what the records of a folder depend on (`settings`) and, for the reader, more (`about`)."""

_NUMBER = re.compile(rb'\{"schema": [0-9]+, "number": ([0-9]+),')


class Journal:
    """The records `0 .. count - 1` of one folder, one JSON line each, which opens with `"schema"` and `"number"`.

    Args:
        folder: made when missing; locked against a second job until `close`.
        file: what the finished file is called.
        count: how many records there will be.
        settings: what the records depend on, as JSON holds it; must equal those of an earlier start.
        about: what else a reader wants to know; not compared.
        overwrite: delete what an earlier job left here first.

    Raises:
        InputError: the folder belongs to a job with other settings, or another process is at work in it.
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
    ):
        self.folder, self.count = pathlib.Path(folder), count
        self.file, self.part = self.folder / file, self.folder / f"{file}.part"
        self.places: dict[int, tuple[int, int]] = {}  # number -> where its line starts in the part, and its length
        self._lock = locked(self.folder)
        try:
            files = (self.file.name, self.part.name)
            self.before = settle(self.folder, files, settings, about, overwrite).get("about", {})
            if not self.finished:
                self._read()
                self._out = self.part.open("ab")
            else:
                self.part.unlink(missing_ok=True)  # a kill may have come between the last two acts of `finish`
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def finished(self) -> bool:
        """Whether all records are there, in order."""
        return self.file.is_file()

    def __len__(self) -> int:
        """How many records are there."""
        return self.count if self.finished else len(self.places)

    def missing(self) -> list[int]:
        """Numbers of the records that are not there."""
        return [] if self.finished else [number for number in range(self.count) if number not in self.places]

    def append(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Write records for good; one whose number is there already is left as it was."""
        lines, end = b"", self._out.tell()
        places: dict[int, tuple[int, int]] = {}
        for number, record in records:
            if number not in self.places and number not in places:
                line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
                places[number] = (end + len(lines), len(line))
                lines += line
        self._out.write(lines)
        self._out.flush()
        os.fsync(self._out.fileno())
        self.places |= places

    def finish(self) -> None:
        """Put all records in order into the file; RuntimeError when one is missing."""
        if self.finished:
            return
        if missing := self.missing():
            raise RuntimeError(f"{len(missing)} of {self.count} records are missing, the first is {missing[0]}")
        with self.part.open("rb") as part, atomic_file(self.file) as temporary, temporary.open("wb") as out:
            for number in range(self.count):
                start, length = self.places[number]
                part.seek(start)
                out.write(part.read(length))
        self._out.close()
        self.part.unlink()

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        if hasattr(self, "_out"):
            self._out.close()
        os.close(self._lock)

    def _read(self) -> None:
        """Find the records that are there, and cut off what a kill tore."""
        whole = 0
        if self.part.exists():
            with self.part.open("rb") as lines:
                for line in lines:
                    match = _NUMBER.match(line)
                    if match is None or not line.endswith(b"\n"):
                        break
                    self.places.setdefault(int(match[1]), (whole, len(line)))
                    whole += len(line)
            os.truncate(self.part, whole)


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    """The leaves of nested dicts by their dotted names; a list is a leaf.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    if not isinstance(tree, dict) or not tree:
        return {name: tree}
    return {key: leaf for part, own in tree.items() for key, leaf in flat(own, f"{name}.{part}".lstrip(".")).items()}


def settle(
    folder: pathlib.Path, files: Iterable[str], settings: Mapping[str, Any], about: Mapping[str, Any], overwrite: bool
) -> dict[str, Any]:
    """The manifest of a folder: the one that is there, with equal settings, or else a new one, written.

    Args:
        folder: where the manifest stands.
        files: what else the job writes; without a manifest they must not be there.
        settings: what they depend on, as JSON holds it.
        about: what else a reader wants to know; not compared.
        overwrite: delete the manifest and the files first.

    Raises:
        InputError: other settings, naming those that differ; a manifest that cannot be read; files without one.
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
    if differing:
        said = "; ".join(f"{name} was {was.get(name)!r:.60}, is {is_now.get(name)!r:.60}" for name in differing[:8])
        raise InputError(f"'{folder}' was begun with other settings: {said}. Use another folder, or --overwrite")
    return before


def locked(folder: pathlib.Path) -> int:
    """A file descriptor that holds the lock of the folder, which is made when missing; closing it lets go.

    Raises InputError where there can be no such folder, and where another process holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        why = "is a file" if folder.is_file() else f"cannot be used ({error.strerror})"
        raise InputError(f"'{folder}' {why}; expected a folder for the results; choose another --output") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InputError(f"another process is at work in '{folder}'; wait for it, or choose another --output") from None
    if not os.access(folder, os.W_OK):
        os.close(lock)
        raise InputError(f"'{folder}' cannot be written to; choose another --output")
    return lock
