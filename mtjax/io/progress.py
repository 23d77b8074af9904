"""Progress of long work: a bar with the time left on a terminal, nothing elsewhere or with `--quiet`.

Bars that are opened inside of another share its display, and go when they are done.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, TypeVar

Item = TypeVar("Item")

QUIET = "--quiet"
"""Word of every command that leaves progress out, and whatever else is printed with `say`."""

VERBOSE = "--verbose"
"""Word of every command that draws from a model: print the first texts that it reads, with their special tokens."""

_quiet = _verbose = False
_display: Any = None  # rich's display, while a bar is open


def take_switches(words: Sequence[str]) -> list[str]:
    """The words without `--quiet` and `--verbose`, which hold from now on if they are among them, else not."""
    global _quiet, _verbose
    _quiet, _verbose = QUIET in words, VERBOSE in words
    return [word for word in words if word not in (QUIET, VERBOSE)]


def is_verbose() -> bool:
    """Whether the texts that a model reads are to be printed."""
    return _verbose


def say(*lines: str) -> None:
    """Print what a command does, unless it is quiet."""
    if not _quiet:
        print(*lines, sep="\n", flush=True)


def shown() -> bool:
    """Whether bars are drawn: on a terminal, unless quiet."""
    return not _quiet and sys.stdout.isatty()


@contextlib.contextmanager
def progress(what: str, total: int | None, done: int = 0) -> Iterator[Callable[..., None]]:
    """A bar with the time left; gives `advance(count=1, text="")`, which adds to what is done.

    Args:
        what: what is done, such as "sampling".
        total: how much there is to do; None where it is not known, which shows the time since the start.
        done: how much was done before.
    """
    global _display
    if not shown():
        yield lambda count=1, text="": None
        return
    from rich import progress as bars

    outer = _display
    if outer is None:
        _display = bars.Progress(
            bars.TextColumn("{task.description}"), bars.BarColumn(None), bars.MofNCompleteColumn(),
            _left(), bars.TextColumn("{task.fields[text]}"), transient=True,
        )  # fmt: skip
        _display.start()
    display = _display
    task = display.add_task(what, total=total, completed=done, text="")
    try:
        yield lambda count=1, text="": display.update(task, advance=count, text=text)
    finally:
        display.remove_task(task)
        if outer is None:
            display.stop()
            _display = None


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, with a bar that counts them; `total` is their number where they have no length."""
    count = len(items) if total is None and isinstance(items, Sized) else total
    with progress(what, count) as advance:
        for item in items:
            yield item
            advance()


def _left() -> Any:
    """The time left, or the time since the start where the end is not known."""
    from rich import progress as bars

    class Left(bars.TimeRemainingColumn):
        def render(self, task: Any) -> Any:
            if task.total is None:
                return bars.TimeElapsedColumn().render(task)
            return super().render(task)

    return Left()
