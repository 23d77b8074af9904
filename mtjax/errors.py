"""How mtjax says no: one exception for bad input, one table of exit codes, one way to suggest a name, and notes."""

import difflib
import enum
import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable

import mtjax


class ExitCode(enum.IntEnum):
    """What a `python -m mtjax.X` process ends with."""

    DONE = 0  # finished
    BAD_INPUT = 2
    DOES_NOT_FIT = 3
    LINT = 4
    NON_FINITE = 5
    HOST_LOST = 6  # another host of the run did not come, died or fell silent: start all of them again
    STORAGE = 7  # a checkpoint could not be written, such as on a full disk; the last good one stays
    CHECK_FAILED = 8  # of `check_hardware`: a line failed
    INCOMPLETE = 9  # of `check_hardware`: none failed, but not all were run
    STOPPED = 75  # SIGTERM; what was done is saved, and the same command goes on from it (EX_TEMPFAIL of sysexits.h)
    INTERRUPTED = 130  # Ctrl-C, after saving
    TERMINATED = 143  # SIGTERM before anything was saved (128 + 15, as of a process that does not catch it)


class InputError(ValueError):
    """Something the user gave is wrong: a config, a file, a record, a checkpoint.

    The message is one or two sentences: the value, what was expected, and the way out. Entry points print it
    without a traceback and exit with `ExitCode.BAD_INPUT`.
    """


class NonFiniteLoss(RuntimeError):
    """The loss or the gradient norm became NaN or infinite; the message names the step and the examples.

    Entry points exit with `ExitCode.NON_FINITE`; the last checkpoint is left as it was.
    """


class HostLost(RuntimeError):
    """Another host of the run did not come, died or fell silent; the message names it. `ExitCode.HOST_LOST`."""


class StorageError(RuntimeError):
    """A checkpoint could not be written; the message names the folder. `ExitCode.STORAGE`."""


class Terminated(BaseException):
    """SIGTERM or Ctrl-C outside of the training loop; the message says what is saved. Ends with the exit code `code`.

    No `Exception`, so that nothing that handles failures takes it for one.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.TERMINATED):
        super().__init__(message)
        self.code = code


CODES: dict[type[BaseException], ExitCode] = {
    InputError: ExitCode.BAD_INPUT,
    NonFiniteLoss: ExitCode.NON_FINITE,
    HostLost: ExitCode.HOST_LOST,
    StorageError: ExitCode.STORAGE,
}
"""The exit code of each exception that is told in one line."""


@functools.cache
def note(message: str) -> None:
    """Print a note on stderr, once in a process: something was decided that the user should know."""
    print(f"note: {message}", file=sys.stderr, flush=True)


MANY = 120  # names from which a message lists the closest alone


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that a misspelt one is most like; None if `difflib`'s ratio is below `cutoff` for all."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)), None)


def suggest(name: str, known: Iterable[str]) -> str:
    """The tail of a message about a misspelt name: the nearest known name, and all of them, or of many the nearest.

    >>> suggest("nlll", ["nll", "dpo"])
    "did you mean 'nll'? (known: dpo, nll)"
    """
    known = sorted(known)
    near = nearest(name, known)
    listed = ", ".join(known)
    if len(known) > MANY:
        closest = difflib.get_close_matches(name, known, n=5, cutoff=0)
        listed = f"{len(known)} names, the closest are {'; '.join(closest)}"
    return (f"did you mean '{near}'? " if near else "") + f"(known: {listed})"


def entry_point(main: Callable[..., int | None]) -> Callable[..., int]:
    """Wrap a command's `main`: an exception of `CODES` becomes one line on stderr and its exit code; so
    does a path that the system refuses, and memory that it does not have."""

    @functools.wraps(main)
    def run(*args: object, **kwargs: object) -> int:
        if signal.getsignal(signal.SIGINT) is mtjax._on_ctrl_c:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return int(main(*args, **kwargs) or ExitCode.DONE)
        except tuple(CODES) as error:
            print(f"error: {error}", file=sys.stderr)
            return next(code for kind, code in CODES.items() if isinstance(error, kind))
        except Terminated as stop:
            print(f"stopped  {stop}", file=sys.stderr)
            return stop.code
        except MemoryError as error:
            print(f"error: not enough memory ({error}); lower batch sizes or lengths", file=sys.stderr)
            return ExitCode.BAD_INPUT
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return ExitCode.INTERRUPTED
        except BrokenPipeError:  # `... | head` has read enough; let the interpreter's last flush go nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.DONE
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
            if error.filename is None and not full:
                raise
            where = f"'{error.filename!s:.200}': " if error.filename is not None else ""
            way_out = "free some space, or fix the storage, and start again" if full else "give another path"
            print(f"error: {where}{error.strerror}; {way_out}", file=sys.stderr)
            return ExitCode.STORAGE if full else ExitCode.BAD_INPUT

    return run
