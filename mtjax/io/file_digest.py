"""Digests of large files, remembered so that a second start need not read them again."""

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Sequence

from mtjax.io.files import cache_folder, write_text
from mtjax.io.hashing import digest

LARGE = 1 << 26  # Bytes: smaller files are read each time, which takes a tenth of a second.
SETTLED = 2.0  # Seconds: a file that was changed more recently may change again within one tick of its clock.


def remembered(files: Sequence[str], key: str, compute: Callable[[], str]) -> str:
    """`compute()`, a digest of these files and of `key`, or what it gave when the files were last read.

    A digest of large files is kept in the folder `digests` of the cache (`mtjax.io.files.cache_folder`), by path, size,
    inode, and the times of the last change of content (mtime) and of anything (ctime), in nanoseconds. A change that
    leaves all of these as they were is not noticed: no ordinary program does that, since ctime cannot be set.
    """

    def stamp() -> list[tuple[object, ...]]:
        found = [(os.path.abspath(file), os.stat(file)) for file in files]
        return [(name, at.st_size, at.st_ino, at.st_dev, at.st_mtime_ns, at.st_ctime_ns) for name, at in found]

    try:
        before, now = stamp(), time.time_ns()
    except OSError:  # `compute` says what is wrong
        return compute()
    if sum(int(str(size)) for _, size, *_ in before) < LARGE:
        return compute()
    place: pathlib.Path = cache_folder() / "digests" / digest(key, before)
    with contextlib.suppress(OSError):
        kept = place.read_text(encoding="ascii")
        if len(kept) == 64:
            return kept
    made = compute()
    settled = all(max(int(str(one[-1])), int(str(one[-2]))) < now - SETTLED * 1e9 for one in before)
    if settled and stamp() == before:
        with contextlib.suppress(OSError):  # a home that cannot be written: the files are read again next time
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, made)
    return made
