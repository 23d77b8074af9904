"""The cache of tokenised examples: a folder of arrays for each source, made once and read by every run.

A folder is made in a work folder, under a lock, and renamed when it is complete. A killed process leaves only its work
folder, which the next one empties; a second process waits for the first. Folders that were not used for longest are
deleted when all together are larger than the limit. A process that has opened a deleted folder keeps it until it ends.
"""

import contextlib
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from mtjax.data.stored import MANIFEST, Column, Writer, open_columns, write_manifest
from mtjax.errors import InputError
from mtjax.io.files import cache_folder
from mtjax.io.hashing import digest
from mtjax.io.lock import locked

AUTO = "auto"  # The folder `data` of `mtjax.io.files.cache_folder`.
ABANDONED = 86_400.0  # Seconds without a change after which a work folder is deleted.
WORK = ".work"  # How the names of work folders end.
Finish = Callable[[dict[str, Column], dict[str, Any]], dict[str, Any]]


class CacheError(InputError):
    """The cache folder cannot be written."""


class Kept(NamedTuple):
    """One folder of the cache."""

    folder: pathlib.Path
    bytes: int
    used: float  # when it was used last, in seconds since 1970
    examples: int  # that it holds; 0 of a folder of rows, or where it cannot be read


class DataCache:
    """A cache folder. `limit` is the number of bytes that all its folders may have together."""

    def __init__(self, folder: str | pathlib.Path, limit: float = float("inf")):
        self.named = str(folder)
        self.folder = cache_folder() / "data" if folder == AUTO else pathlib.Path(folder).expanduser()
        self.limit = limit

    def get(
        self, key: tuple[Any, ...], build: Callable[[Writer], dict[str, Any]], finish: Finish | None = None
    ) -> tuple[dict[str, Column], dict[str, Any]]:
        """The arrays of `key` (its first part names the kind), built and kept if they are not there.

        Args:
            build: writes the arrays, and returns what else there is to keep (as JSON).
            finish: adds to it what is computed of the finished arrays.

        Raises:
            InputError: the folder cannot be written.
        """
        place = self.folder / f"{key[0]}-{digest(*key[1:])}"
        if (found := self._open(place)) is not None:
            return found
        try:
            work = place.with_name(f".{place.name}{WORK}")
            with self._alone(work, place):
                if (found := self._open(place)) is None:  # another process made it meanwhile
                    self._make(work, place, build, finish)
                    found = self._open(place)
        except OSError as error:
            raise CacheError(
                f"data.cache_dir={self.named!r} cannot be written ({error}); name a folder that can be, or None"
            ) from error
        self.prune(keep=place)
        if found is None:
            raise InputError(f"data.cache_dir={self.named!r}: {place.name} was deleted while it was made; start again")
        return found

    def _open(self, place: pathlib.Path) -> tuple[dict[str, Column], dict[str, Any]] | None:
        """The arrays of a folder; None where it is missing or damaged, which is said."""
        try:
            found = open_columns(place)
            with contextlib.suppress(OSError):  # a cache that can only be read
                os.utime(place / MANIFEST)
            return found
        except FileNotFoundError:
            if place.exists():
                print(f"note: the cached examples in {place} are incomplete; they are made again")
        except Exception as error:  # damaged JSON can make almost anything of the values
            print(f"note: the cached examples in {place} are damaged ({error!r:.80}); they are made again")
        return None

    def _make(
        self, work: pathlib.Path, place: pathlib.Path, build: Callable[[Writer], dict[str, Any]], finish: Finish | None
    ) -> None:
        inside = work / "arrays"
        shutil.rmtree(inside, ignore_errors=True)  # of a process that was killed
        inside.mkdir()
        writer = Writer(inside)
        try:
            about = build(writer)
            columns = writer.columns()
            about = about if finish is None else finish(columns, about)
            write_manifest(inside, writer.manifest(), about)
        except BaseException:
            writer.close()
            shutil.rmtree(inside, ignore_errors=True)
            raise
        for file in inside.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        shutil.rmtree(place, ignore_errors=True)  # a damaged one
        inside.rename(place)

    @contextlib.contextmanager
    def _alone(self, work: pathlib.Path, place: pathlib.Path) -> Any:
        """Hold the lock of a work folder; wait for a process that holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            said = False
            while True:
                try:
                    stack.enter_context(locked(work, "--data.cache_dir"))
                    break
                except InputError as error:
                    held = "another process is at work" in str(error)
                    if not held and not (os.access(self.folder, os.W_OK) and not work.exists()):
                        raise OSError(str(error)) from error
                    # Without a holder, the work folder was deleted by the process that finished just now.
                    if held and not said:
                        print(f"data     waiting: {error}", flush=True)
                        said = True
                    time.sleep(0.2)
            yield
        with contextlib.suppress(OSError):  # of a killed process; not empty while another one has its lock there
            work.rmdir()

    def kept(self) -> list[Kept]:
        """All finished folders, the one that was used last at the end."""
        out = []
        for manifest in self.folder.glob(f"*/{MANIFEST}"):
            with contextlib.suppress(OSError):
                used = manifest.stat().st_mtime
                size = sum(file.stat().st_size for file in manifest.parent.iterdir())
                names = manifest.parent / "name_ends.raw"
                out.append(Kept(manifest.parent, size, used, names.stat().st_size // 8 if names.exists() else 0))
        return sorted(out, key=lambda one: one.used)

    def total(self) -> int:
        """Bytes of all files in the folder, those of first passes that are not finished included."""
        return sum(file.lstat().st_size for file in self.folder.rglob("*") if file.is_file())

    def prune(self, keep: pathlib.Path | None = None, unused: float = float("inf"), left: bool = False) -> list[Kept]:
        """Delete what was not used for longest, until the rest is within the limit; returns what was deleted.

        Args:
            keep: a folder that stays.
            unused: seconds; what was not used for so long is deleted, too.
            left: delete also what first passes left that were killed a moment ago, not only a day ago.
        """
        for work in self.folder.glob(f".*{WORK}"):
            with contextlib.suppress(OSError, InputError):
                if max(place.lstat().st_mtime for place in (work, *work.rglob("*"))) < time.time() - ABANDONED:
                    shutil.rmtree(work)
                elif left:
                    with locked(work):  # InputError where a process is at work
                        shutil.rmtree(work / "arrays")
                    work.rmdir()
        kept, old = self.kept(), time.time() - unused
        total, deleted = sum(one.bytes for one in kept), []
        for one in kept:
            if one.folder != keep and (total > self.limit or one.used < old):
                with contextlib.suppress(OSError):
                    (one.folder / MANIFEST).unlink()  # first, so that no process opens half of it
                    shutil.rmtree(one.folder)
                    total -= one.bytes
                    deleted.append(one)
        return deleted
