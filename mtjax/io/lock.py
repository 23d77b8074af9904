"""One process at a time in a folder: a lock that ends with its process, and says who holds it."""

import contextlib
import fcntl
import json
import os
import pathlib
import platform
import time
from collections.abc import Iterator
from typing import Any

from mtjax.errors import InputError
from mtjax.io.files import delete_temporary

LOCK = ".lock"
"""The file that is locked. It holds host, process id and start of the process at work, and is deleted at the end."""


class BusyError(InputError):
    """Another process holds the lock of a folder."""


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], option: str = "--output") -> Iterator[None]:
    """Hold the lock of a folder, which is created if it is missing; delete what a killed process left unfinished there.

    The system releases the lock when the process ends, however it ends, so a leftover lock file does not block. On a
    file system without locks a note is printed and nothing is locked. A folder that was created for the lock and is
    empty at the end is deleted again.

    Args:
        option: the setting that names another folder, for messages.

    Raises:
        BusyError: another process holds the lock; names that process.
        InputError: the folder cannot be created or written to.
    """
    folder = pathlib.Path(folder)
    created = [place for place in (folder, *folder.parents) if not place.exists()]
    lock: int | None = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise InputError(f"'{folder}' cannot be written to; choose another {option}")
            lock = _acquire(folder / LOCK)
        except BlockingIOError:
            raise BusyError(
                f"another process is at work in '{folder}' ({_holder(folder / LOCK)}); wait for it, stop it, or choose "
                f"another {option}"
            ) from None
        except OSError as error:
            why = "is a file" if folder.is_file() else f"cannot be used ({error.strerror})"
            raise InputError(f"'{folder}' {why}; expected a folder for the results; choose another {option}") from None
        delete_temporary(folder)
        yield
    finally:
        if lock is not None:
            (folder / LOCK).unlink(missing_ok=True)
            os.close(lock)
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for place in created:
                place.rmdir()


def _acquire(file: pathlib.Path) -> int | None:
    """A descriptor that holds the lock; None on a file system without locks. BlockingIOError if another has it."""
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise
        except OSError as error:
            os.close(lock)
            file.unlink(missing_ok=True)
            print(f"note: '{file.parent}' has no locks ({error.strerror}); do not start a second process there")
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(lock).st_ino == file.stat().st_ino:
                break
        os.close(lock)  # the process before deleted it between the two calls
    here = {"host": platform.node(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(lock, 0)
    os.write(lock, json.dumps(here).encode())
    return lock


def _holder(file: pathlib.Path) -> str:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        return f"pid {found['pid']} on host {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "which one is not known"
