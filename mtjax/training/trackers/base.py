"""The contract of a tracker."""

import importlib
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mtjax.errors import InputError
from mtjax.io.files import write_text
from mtjax.registry import Registry

TRACKERS = Registry("tracker")
"""Every tracker by name."""


class Tracked(NamedTuple):
    """A run, as a tracker is told of it."""

    folder: pathlib.Path  # the run folder; what a tracker writes on this machine goes into it
    settings: Mapping[str, str]  # every setting by its dotted name
    first: int = 0  # step of the checkpoint that the run goes on from

    @property
    def name(self) -> str:
        """What the run is called: the name of its folder."""
        return self.folder.resolve().name


@runtime_checkable
class Sink(Protocol):
    """An open tracker."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line of metrics.jsonl."""
        ...

    def close(self) -> None:
        """Send what is left, and end."""
        ...


class OfRun:
    """The sink of packages whose run has `log(values, step)` and `finish()`."""

    def __init__(self, run: Any):
        self.run = run

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log one line."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Send what is left, and end."""
        self.run.finish()


@runtime_checkable
class Tracker(Protocol):
    """A frozen dataclass; its fields are its settings. The run goes on, with a note, where a tracker fails."""

    def __call__(self, run: Tracked) -> Sink:
        """Open the tracker for a run; one that is resumed goes on with what it had. InputError: not installed."""
        ...


def needs(module: str, extra: str) -> Any:
    """Import the package of a tracker; InputError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"tracker:{extra} needs a package that is not installed ({error}): pip install '.[{extra}]' in mtjax's "
            "folder, or leave the tracker out (tracker:none)"
        ) from error


def kept_id(run: Tracked, kind: str, new: str) -> str:
    """The id under which a tracker knows the run: kept in the run folder, so that a resumed run has it again."""
    file = run.folder / f"{kind}.id"
    if not file.exists():
        write_text(file, new + "\n")
    return file.read_text(encoding="utf-8").strip()
