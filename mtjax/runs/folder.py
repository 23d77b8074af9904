"""A run's folder: which settings it may be started with again, and what of it is deleted for a new start."""

import dataclasses
import os
import pathlib
import shutil
from typing import Any

from etils import epath

from mtjax.config import Config, read_file, same_class
from mtjax.distributed import hosts
from mtjax.errors import InputError
from mtjax.io.config_file import is_snapshot
from mtjax.training.checkpoint import check_address, folders_of, place_of, saved_steps

MAY_CHANGE = frozenset(
    {"steps", "run_dir", "overwrite", "export", "log_every", "tensorboard", "checkpoint", "early_stopping"}
    | {"self_check", "min_target_share", "mesh", "micro_batches", "chunk"}
)
"""Top-level fields that a resumed run may have otherwise than its snapshot. Another mesh, as of more devices or fewer,
other micro-batches and another chunk sum the same numbers in another order: equal but for rounding."""


def prepare_folder(config: Config) -> tuple[pathlib.Path, Config]:
    """The run folder, and the config with the end of its schedule; refuses another run's settings.

    Host 0 looks at the folder for all hosts. Nothing is written: the folder is made when nothing else can be refused.
    The schedule ends where the first start said: raising `steps` later does not stretch it.

    Raises:
        InputError: a place that cannot be a folder; other settings than the snapshot's; fewer steps than were trained.
    """
    end = hosts.on_first(lambda: _check_folder(config))
    return pathlib.Path(config.run_dir), _ending(config, end)


def _ending(config: Config, schedule_steps: int) -> Config:
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, schedule_steps=schedule_steps))


def _check_folder(config: Config) -> int:
    """The end of the schedule, if the folder can be this run's."""
    folder = pathlib.Path(config.run_dir)
    inside = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not config.run_dir.strip() or not inside.is_dir() or not os.access(inside, os.W_OK):
        why = f"'{inside}' is a file" if inside.is_file() else f"'{inside}' cannot be written to"
        why = why if config.run_dir.strip() else "empty"
        raise InputError(f"run_dir '{config.run_dir}': {why}; expected a folder of the run's own; change --run_dir")
    if config.checkpoint.folder is not None:
        check_address(config.checkpoint.folder)
    kept, elsewhere = folder / "config.py", snapshot_elsewhere(config)
    if not kept.exists() and not config.overwrite and elsewhere is not None and elsewhere.exists():
        folder.mkdir(parents=True, exist_ok=True)  # this machine is new to the run
        kept.write_text(elsewhere.read_text())
    new = config.overwrite or not kept.exists()
    is_run = is_snapshot(kept)
    if config.overwrite and folder.exists() and any(folder.iterdir()) and not is_run:
        raise InputError(
            f"run_dir '{folder}' is no run folder (no snapshot config.py), and --overwrite deletes nothing else; empty "
            "it yourself, or choose another --run_dir"
        )
    before = config if new else read_file(kept)
    end = config.optim.schedule_steps or before.optim.schedule_steps or before.steps
    if differing := {} if new else changed(before, _ending(config, end)):
        listed = "; ".join(f"{name} was {old!r:.60}, is {now!r:.60}" for name, (old, now) in differing.items())
        raise InputError(f"{folder} holds a run with other settings: {listed}. Use another --run_dir, or --overwrite")
    done = saved_in(config)
    if done and new:
        raise InputError(f"{folder} has checkpoints, but no config.py that says of what; choose another --run_dir")
    if done and done[-1] > config.steps:
        raise InputError(
            f"{folder} is trained to step {done[-1]} already, but steps={config.steps}: raise --steps to go on, or use "
            "another --run_dir, or --overwrite"
        )
    if new:  # it is of another run, or of a start that was refused
        (folder / "reference.json").unlink(missing_ok=True)
    return end


def saved_in(config: Config) -> list[int]:
    """Steps that the same command would find saved, oldest first."""
    return (
        [] if config.overwrite else saved_steps(folders_of(pathlib.Path(config.run_dir), config.checkpoint.folder)[0])
    )


def snapshot_elsewhere(config: Config) -> epath.Path | None:
    """Where a second snapshot is, with the checkpoints, so that a new machine can go on; None where they are here."""
    return None if config.checkpoint.folder is None else place_of(config.checkpoint.folder) / "config.py"


def begin(config: Config) -> None:
    """Make the folder of a run that starts anew.

    With `overwrite`, what is in it is deleted, but not the reference's fingerprint, which is the new run's by now.

    Raises:
        InputError: the system refuses.
    """
    folder = pathlib.Path(config.run_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in folder.iterdir() if config.overwrite else ():
            if place.name != "reference.json":
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        for there in folders_of(folder, config.checkpoint.folder) if config.overwrite else ():
            if there.exists():
                there.rmtree()
    except OSError as error:
        raise InputError(f"run_dir '{folder}' cannot be made or emptied ({error}); choose another --run_dir") from error


def check_shared(config: Config) -> None:
    """InputError on a host that does not see the run folder of host 0, where the checkpoints are in it."""
    if config.checkpoint.folder is None and not hosts.see_alike(pathlib.Path(config.run_dir)):
        raise InputError(
            f"run_dir '{config.run_dir}' is not the folder that host 0 has under this name: name one that all hosts "
            "share, or a place for checkpoints that they do, such as --checkpoint.folder=gs://..."
        )


def changed(before: Config, now: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted names of the settings that differ and may not on resume, with both values."""
    out: dict[str, tuple[Any, Any]] = {}

    def walk(a: Any, b: Any, name: str) -> None:
        if dataclasses.is_dataclass(a) and same_class(type(a), type(b)):
            for field in dataclasses.fields(a):
                if name or field.name not in MAY_CHANGE:
                    walk(getattr(a, field.name), getattr(b, field.name), f"{name}.{field.name}".lstrip("."))
        elif isinstance(a, tuple | list) and type(a) is type(b) and len(a) == len(b):
            for number, (x, y) in enumerate(zip(a, b, strict=True)):
                walk(x, y, f"{name}[{number}]")
        elif type(a) is not type(b) and type(a).__qualname__ == type(b).__qualname__:
            kind = type(b).__qualname__
            out[name] = (f"the class {kind} as it was at the first start", f"the class {kind} as the file has it now")
        elif a != b:
            out[name] = (a, b)

    walk(before, now, "")
    return out
