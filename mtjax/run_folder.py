"""A run's folder: which settings it may be started with again, and what of it is deleted to start anew."""

import dataclasses
import os
import pathlib
import shutil
from typing import Any

from mtjax.checkpoint import saved_steps
from mtjax.config import SNAPSHOT, Config, read_file
from mtjax.errors import InputError

MAY_CHANGE = frozenset(
    {"steps", "run_dir", "overwrite", "export", "log_every", "tensorboard", "checkpoint"}
    | {"self_check", "min_target_share"}
)
"""Top-level fields that a resumed run may have otherwise than its snapshot."""


def prepare_folder(config: Config) -> tuple[pathlib.Path, Config]:
    """The run folder, and the config with its schedule's end settled; refuses another run's settings.

    Nothing is written: the folder is made when nothing else can be refused. The schedule's end is that of the first
    start: raising `steps` later does not stretch it.

    Raises:
        InputError: a place that cannot be a folder; other settings than the snapshot's; fewer steps than were trained.
    """
    folder = pathlib.Path(config.run_dir)
    inside = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not config.run_dir.strip() or not inside.is_dir() or not os.access(inside, os.W_OK):
        why = f"'{inside}' is a file" if inside.is_file() else f"'{inside}' cannot be written to"
        why = why if config.run_dir.strip() else "empty"
        raise InputError(f"run_dir '{config.run_dir}': {why}; expected a folder of the run's own; change --run_dir")
    kept = folder / "config.py"
    anew = config.overwrite or not kept.exists()
    if config.overwrite and folder.exists() and any(folder.iterdir()) and not _is_run(kept):
        raise InputError(
            f"run_dir '{folder}' is no run folder (no snapshot config.py), and --overwrite deletes nothing else; empty "
            "it yourself, or choose another --run_dir"
        )
    before = config if anew else read_file(kept)
    if config.optim.schedule_steps is None:
        end = before.optim.schedule_steps or before.steps
        config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, schedule_steps=end))
    if not anew:
        differing = changed(before, config)
        if differing:
            said = "; ".join(f"{name} was {old!r:.60}, is {new!r:.60}" for name, (old, new) in differing.items())
            raise InputError(f"{folder} holds a run with other settings: {said}. Use another --run_dir, or --overwrite")
    done = [] if config.overwrite else saved_steps(folder / "checkpoints")
    if done and anew:
        raise InputError(f"{folder} has checkpoints, but no config.py that says of what; choose another --run_dir")
    if done and done[-1] > config.steps:
        raise InputError(
            f"{folder} is trained to step {done[-1]} already, but steps={config.steps}: raise --steps to go on, or use "
            "another --run_dir, or --overwrite"
        )
    if anew:  # it is of another run, or of a start that was refused
        (folder / "reference.json").unlink(missing_ok=True)
    return folder, config


def begin(folder: pathlib.Path, overwrite: bool) -> None:
    """Make the folder of a run that starts anew.

    With `overwrite`, what is in it is deleted, but not the reference's fingerprint, which is the new run's by now.
    Raises InputError where the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in folder.iterdir() if overwrite else ():
            if place.name != "reference.json":
                shutil.rmtree(place) if place.is_dir() else place.unlink()
    except OSError as error:
        raise InputError(f"run_dir '{folder}' cannot be made or emptied ({error}); choose another --run_dir") from error


def _is_run(kept: pathlib.Path) -> bool:
    """Whether this file is the snapshot of a run."""
    return kept.is_file() and kept.read_text(errors="replace").startswith(SNAPSHOT)


def changed(before: Config, now: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted names of the settings that differ and may not on resume, with both values."""
    out: dict[str, tuple[Any, Any]] = {}

    def walk(a: Any, b: Any, name: str) -> None:
        if type(a) is type(b) and dataclasses.is_dataclass(a):
            for field in dataclasses.fields(a):
                if name or field.name not in MAY_CHANGE:
                    walk(getattr(a, field.name), getattr(b, field.name), f"{name}.{field.name}".lstrip("."))
        elif a != b:
            out[name] = (a, b)

    walk(before, now, "")
    return out
