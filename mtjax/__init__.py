"""mtjax: train language models on their mistakes, in JAX.

Importing this package loads nothing heavy; import the module you want, e.g. ``from mtjax.objectives import nll``.
"""

import os
import sys

__version__ = "0.1.0"

REPOSITORY = ""
"""Address of the project on the web, such as "https://github.com/owner/mtjax": a fork sets it here. The project URLs of
the package are made from it; MTJAX_REPOSITORY overrides it in a build and in the notebooks."""


def _on_exception(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """One line for Ctrl-C while a command is imported, as `errors.entry_point` gives once it runs."""
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


def _as_command() -> None:
    """One line for what stops a process while its command is imported."""
    sys.excepthook = _on_exception
    import signal

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_ctrl_c)  # until the command runs (`errors.entry_point`)


# `python -m mtjax.X` imports this package before it knows the command's file; other programs keep their hook.
if sys.argv[:1] == ["-m"] and any(word.removeprefix("-m").startswith("mtjax.") for word in sys.orig_argv):
    _as_command()
