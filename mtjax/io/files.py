"""Atomic files and folders, and the cache folder.

A temporary file or folder beside the final one is synced to disk and renamed at the end. A crash at any moment leaves
the old content or the new one.
"""

import contextlib
import os
import pathlib
import re
import shutil
import time
import uuid
from collections.abc import Iterator

from etils import epath

LFS = b"version https://git-lfs.github.com/spec/"


def write_text(path: pathlib.Path | epath.Path, text: str) -> None:
    """Write a small text file (UTF-8) atomically; an address on an object store works too."""
    if isinstance(path, pathlib.Path):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    else:
        address = path.with_name(_temporary_name(path.name))
        address.write_text(text)
        address.replace(path)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """The path of a temporary file that becomes `path` when the block ends without an exception.

    The file has the permissions that a new file of this user has. OSError where the folder cannot be written.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, keep_existing: bool = False) -> Iterator[pathlib.Path]:
    """A temporary folder that becomes `path` when the block ends without an exception.

    A folder at `path` is replaced, and deleted only after the new one is in place. With `keep_existing` it stays and
    the new one is dropped: for content that any of several processes may write.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path.name))
    old = temporary.with_suffix(".old")
    temporary.mkdir()
    try:
        yield temporary
        for place in (*temporary.rglob("*"), temporary):
            if not place.is_symlink():
                _sync(place)
        if path.exists() and not keep_existing:
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if not (keep_existing and path.is_dir()):
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        if old.is_symlink():
            old.unlink()
        shutil.rmtree(old, ignore_errors=True)


def is_lfs_pointer(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a Git LFS pointer: the few lines that stand for a large file that was not fetched."""
    with open(path, "rb") as file:
        return file.read(len(LFS)) == LFS


def _temporary_name(name: str) -> str:
    """A hidden name beside `name` that no other process uses."""
    return f".{name}.{uuid.uuid4().hex[:8]}.tmp"


def delete_temporary(folder: pathlib.Path, older_than: float = 0.0) -> None:
    """Delete what killed processes left unfinished in a folder, if it was not changed for so many seconds.

    A folder that was moved away to be replaced, and was not, is moved back. Where other processes may be writing, as in
    a cache, give an age.
    """
    for place in folder.glob(".*"):
        found = _TEMPORARY.fullmatch(place.name)
        with contextlib.suppress(OSError):  # another process may delete it too
            if found is None or time.time() - place.lstat().st_mtime < older_than:
                continue
            if found[2] == "old" and not (folder / found[1]).exists():
                place.rename(folder / found[1])
            elif place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()


_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(tmp|old)")


def _sync(path: pathlib.Path) -> None:
    """Flush a file or folder from the system's memory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder() -> pathlib.Path:
    """Folder of files that can be made again: `$XDG_CACHE_HOME/mtjax`, or `~/.cache/mtjax`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "mtjax"
