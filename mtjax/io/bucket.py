"""Local copies of files on an object store: `gs://bucket/file`, `s3://bucket/file`.

A file is fetched once, by the clients that checkpoints use (fsspec with gcsfs or s3fs), into the folder `fetched` of
the cache, under the address and the size and version that the store gives. Whatever reads files then reads the copy.
"""

import contextlib
import errno
import glob
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

from mtjax.errors import InputError, note, suggest
from mtjax.io.files import atomic_folder, cache_folder, delete_temporary
from mtjax.io.hashing import digest
from mtjax.validation import BUCKETS

EXTRAS = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}  # The client of each store, and the extra that installs it.
VERSIONS = ("generation", "ETag", "etag", "LastModified", "mtime", "updated", "created")
"""What stores say of the version of a file, the most exact first."""
UNUSED = 86_400.0  # Seconds without use after which the copy of an earlier version is deleted.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # What the cache folder's own disk raises.
Versions = dict[str, tuple[int, str]]  # Size and version of each file, by its name with the bucket.


def is_address(path: str) -> bool:
    """Whether a path is an address of a store from which files can be fetched."""
    return path.startswith(BUCKETS)


def local_copy(address: str, wanted: Callable[[str], bool] | None = None) -> str:
    """A path of this machine that means the same files as an address: a file, a folder, or a pattern.

    The path ends as the address does, and files lie to each other as they do in the bucket, so names and content are
    those of files that were always here. The files of a folder or a pattern are fetched together: where one of them has
    changed, all are fetched again. Within a process an address keeps the version that was found first.

    Args:
        wanted: which files of a folder to fetch, by name; None refuses a folder.

    Raises:
        InputError: no such file, no permission, no answer, a missing package, or a cache folder without space.
    """
    kept = _found.get(address)
    if kept is None or not os.path.exists(kept[0]):
        made = _fetch(address, wanted)
        if kept not in (None, made):
            raise InputError(
                f"'{address}' has changed since this process read it, and the copy was deleted; start again"
            )
        kept = _found[address] = made
    return kept[1]


_found: dict[str, tuple[str, str]] = {}  # The folder of the copy and the path in it, by address.


def _fetch(address: str, wanted: Callable[[str], bool] | None) -> tuple[str, str]:
    store, _, rest = address.partition("://")
    if not rest.strip("/"):
        raise InputError(f"'{address}' names no bucket; expected {store}://BUCKET/FILE")
    with _asking(address):
        import fsspec

        files: Any = fsspec.filesystem(store)
        place = files._strip_protocol(address).strip("/")  # noqa: SLF001  (as every user of fsspec does)
        before = _listed(files, address, place, wanted)
        is_pattern = place not in before and glob.has_magic(place)
    own = cache_folder() / "fetched" / digest(address)[:16]
    folder = own / digest(sorted(before.items()))[:16]
    if not folder.is_dir():
        note(f"{address} is fetched into {folder} ({sum(size for size, _ in before.values()) / 1e6:,.1f} MB)")
        with _asking(address):
            own.mkdir(parents=True, exist_ok=True)
            delete_temporary(own, UNUSED)
            with atomic_folder(folder, keep_existing=True) as new:
                for name in before:
                    target = new / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.get_file(name, str(target))
                if not before:  # a folder without files of the wanted kind
                    (new / place).mkdir(parents=True)
                if _listed(files, address, place, wanted) != before:
                    raise InputError(f"'{address}' changed while it was fetched; start again")
    with contextlib.suppress(OSError):  # a cache that can only be read, or that another process cleans
        os.utime(folder)
        for other in own.iterdir():
            if other.stat().st_mtime < time.time() - UNUSED:
                shutil.rmtree(other)
    return str(folder), os.path.join(glob.escape(str(folder)) if is_pattern else str(folder), place)


def _listed(files: Any, address: str, place: str, wanted: Callable[[str], bool] | None) -> Versions:
    """The files that a place of a store means: itself, those in it, or those that it matches."""
    files.invalidate_cache()
    try:
        about = files.info(place)
        if about["type"] == "file":
            found = {place: about}
        elif wanted is None:
            raise InputError(f"'{address}' is a folder; expected a file in it")
        else:
            found = {name: one for name, one in files.find(place, detail=True).items() if wanted(name)}
    except FileNotFoundError:
        found = files.glob(place, detail=True) if glob.has_magic(place) else {}
        found = {name: one for name, one in found.items() if one["type"] == "file"}
        if not found:
            raise
    versions = {}
    for name, one in found.items():
        name = name.strip("/")
        if {"", ".", ".."} & set(name.split("/")):
            raise InputError(f"the file '{name}' of the bucket has no place in a folder; rename it")
        version = next((str(one[key]) for key in VERSIONS if one.get(key) is not None), "")
        versions[name] = int(one["size"]), version
    return versions


@contextlib.contextmanager
def _asking(address: str) -> Iterator[None]:
    """Turn what the clients raise into one sentence: each has its own exceptions."""
    store = address.partition("://")[0]
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        package, extra = EXTRAS[store]
        raise InputError(
            f"'{address}' needs the package '{package}': run pip install '.[{extra}]' in mtjax's folder, or copy the "
            "file to this machine"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"nothing at '{address}'; check bucket and name{_beside(address)}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise InputError(
                f"'{address}' cannot be kept in {cache_folder()} ({error.strerror}); free some space, or name another "
                "folder in XDG_CACHE_HOME"
            ) from error
        said = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
        if isinstance(error, PermissionError) or any(word in said for word in ("Forbidden", "401", "redential")):
            raise InputError(
                f"'{address}' may not be read ({said}); give this machine's account the right to read and list the "
                "bucket, sign in, or copy the file to this machine"
            ) from error
        raise InputError(
            f"'{address}' cannot be fetched ({said}); check the address and the network, or copy the file to this "
            "machine"
        ) from error


def _beside(address: str) -> str:
    """The nearest name in the folder of a missing file, as the end of a sentence; "" where nothing can be said."""
    with contextlib.suppress(Exception):  # the first error is the one to report
        import fsspec

        store, _, rest = address.partition("://")
        folder, _, name = rest.rstrip("/").rpartition("/")
        names = [str(pathlib.PurePosixPath(each).name) for each in fsspec.filesystem(store).ls(folder, detail=False)]
        if names and not glob.has_magic(name):
            return f": {suggest(name, sorted(names)[:20])}"
    return ""
