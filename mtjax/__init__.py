"""mtjax: train language models on their mistakes, in JAX.

Importing this package loads nothing heavy; import the module you want, e.g. ``from mtjax.objectives import nll``.
"""

import os
import sys

__version__ = "0.1.0"

_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"  # Linux writes here who gets huge pages

_WAITING = "MTJAX_SIGNALS_WAIT"  # set between two starts, while signals wait

REPOSITORY = ""
"""Address of the project on the web, such as "https://github.com/owner/mtjax": a fork sets it here. The project URLs of
the package are made from it; MTJAX_REPOSITORY overrides it in a build and in the notebooks."""


def _on_exception(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """One line for Ctrl-C or bad input while a command is imported, as `errors.entry_point` gives once it runs."""
    if kind.__module__ == "mtjax.errors" and kind.__name__ == "InputError":  # a method's file that cannot be imported
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(2)  # ExitCode.BAD_INPUT
    if kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, error, trace)  # type: ignore[arg-type]
        return
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(130)  # ExitCode.INTERRUPTED; there is nothing to clean up yet


def _on_ctrl_c(*_: object) -> None:
    """The same, without an exception that would pass through compiled code which is being loaded, and crash there."""
    _on_exception(KeyboardInterrupt, KeyboardInterrupt(), None)


def _on_sigterm(*_: object) -> None:
    """One line for SIGTERM where a command does not handle it; the default is silent, and ignored in containers."""
    print("stopped  by SIGTERM; the same command starts again", file=sys.stderr, flush=True)
    os._exit(143)  # ExitCode.TERMINATED


def _with_huge_pages() -> None:
    """Start this process again with huge pages for the C library's memory, where Linux gives them on demand only.

    XLA maps the scratch memory of a step anew each time; with small pages, a third of a small model's step is spent on
    page faults. The setting is read when a process starts, so it cannot be made later. Nothing happens where
    `GLIBC_TUNABLES` has the setting already, whatever its value. Ctrl-C and SIGTERM wait until the new process can
    answer them (`_as_command`), because while Python itself starts, Ctrl-C ends in a traceback.
    """
    wanted, given = "glibc.malloc.hugetlb", os.environ.get("GLIBC_TUNABLES", "")
    if wanted in given or not sys.executable or not os.path.exists(_HUGE_PAGES):
        return
    with open(_HUGE_PAGES) as file:
        if "[madvise]" not in file.read():
            return
    tunables = f"{given}:{wanted}=1" if given else f"{wanted}=1"
    import signal

    waiting = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    wait = {_WAITING: "1"} if not waiting & {signal.SIGINT, signal.SIGTERM} else {}
    try:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": tunables, **wait})
    except OSError:
        return  # a system that starts no program: slower, and all the same
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)


def _as_command() -> None:
    """One line for what stops a process while its command is imported."""
    sys.excepthook = _on_exception
    import signal

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_ctrl_c)  # until the command runs (`errors.entry_point`)
    if os.environ.pop(_WAITING, ""):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _is_command() -> bool:
    """Whether this process runs `python -m mtjax`, `python -m mtjax.X` or the console script `mtjax`."""
    if sys.argv[:1] == ["-m"]:  # so while the package of the module that is to be run is imported
        name = next((after or word[2:] for word, after in _words_with_next() if word.startswith("-m")), "")
        return name.partition(".")[0] == "mtjax"
    return os.path.basename(sys.argv[0]) == "mtjax"


def _words_with_next() -> list[tuple[str, str]]:
    """The words of the command line, each with the next one where it is `-m` alone."""
    words = sys.orig_argv[1:]
    return [(word, after if word == "-m" else "") for word, after in zip(words, [*words[1:], ""], strict=True)]


if _is_command():  # other programs that import this package keep their hooks and their memory
    _with_huge_pages()
    _as_command()
