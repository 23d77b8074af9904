"""A run's folder: which settings it may be started with again, and what of it is deleted for a new start."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from etils import epath

from mtjax.config import Config, as_kept, read_run, same_class
from mtjax.distributed import hosts
from mtjax.errors import InputError, note
from mtjax.io.config_file import is_snapshot
from mtjax.io.files import write_text
from mtjax.io.lock import LOCK, locked
from mtjax.runs.adapters import BASE
from mtjax.runs.start import copy_start
from mtjax.training.checkpoint import check_address, folders_of, place_of, read_about, saved_steps
from mtjax.training.fitting import AUTO

MAY_CHANGE = frozenset(
    {"steps", "run_dir", "overwrite", "accept_changed_data", "export", "export_dtype", "log_every"}
    | {"tensorboard", "tracker", "profile"}
    | {"checkpoint", "early_stopping"}
    | {"self_check", "min_target_share", "mesh", "micro_batches", "chunk"}
    | {"data.cache_dir", "data.cache_gb", "data.workers"}
    | {"data.max_dropped", "data.max_unknown", "data.max_repeats"}
)
"""Settings that a resumed run may have otherwise than its snapshot. Another mesh, as of more devices or fewer,
other micro-batches and another chunk sum the same numbers in another order: equal but for rounding."""

DATA = ("data.source", "data.tokenizer", "held_out.source", "coverage.source")
"""Settings that may differ too with `accept_changed_data`, as after data were moved: what they give is compared."""

LOG = "metrics.jsonl"


@contextlib.contextmanager
def locked_run(config: Config) -> Iterator[None]:
    """Hold the locks of the run folder and of `checkpoint.folder`, on host 0; an object store has none.

    Raises:
        InputError: another process trains there; names its process id, host and start. Or no such folder can be.
    """
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            _check_place(config)
            stack.enter_context(locked(config.run_dir, "--run_dir"))
            elsewhere = config.checkpoint.folder
            if elsewhere is not None and "://" not in elsewhere:
                place = pathlib.Path(elsewhere).expanduser()
                if place.resolve() != pathlib.Path(config.run_dir).resolve():
                    stack.enter_context(locked(place, "--checkpoint.folder"))

        hosts.on_first(lock)
        yield


KEPT: dict[str, Any] = {"data.boundary": "raise", "data.task.strip": True, "data.task.special_tokens": "control"}
"""Settings whose default has changed since version 0.1, with the old default. A run that was begun with it keeps it
where the config has today's default."""


def prepare_folder(config: Config) -> tuple[pathlib.Path, Config]:
    """The run folder, and the config with the end of its schedule; refuses another run's settings.

    Host 0 looks at the folder for all hosts. Nothing is written: the folder is made when nothing else can be refused.
    The schedule ends where the first start said: raising `steps` later does not stretch it.

    Raises:
        InputError: a place that cannot be a folder; other settings than the snapshot's; fewer steps than were trained.
    """
    settled = hosts.on_first(lambda: _check_folder(config))
    return pathlib.Path(config.run_dir), _settled(config, settled)


def _settled(config: Config, settings: dict[str, Any]) -> Config:
    """The config with settings by dotted name."""
    for name, value in settings.items():
        config = _with(config, name.split("."), value)
    return config


def _with(part: Any, names: list[str], value: Any) -> Any:
    new = value if len(names) == 1 else _with(getattr(part, names[0]), names[1:], value)
    return dataclasses.replace(part, **{names[0]: new})


def kept_settings(before: Config, now: Config) -> dict[str, Any]:
    """The settings of `KEPT`, by dotted name, that a run which began as `before` keeps when it is resumed as `now`."""
    kept = {}
    for name, old in KEPT.items():
        *parts, last = name.split(".")
        was, is_now = (functools.reduce(getattr, parts, config) for config in (before, now))
        default = next((field.default for field in dataclasses.fields(is_now) if field.name == last), old)
        if type(was) is type(is_now) and getattr(was, last, None) == old != getattr(is_now, last, None) == default:
            kept[name] = old
    return kept


def chosen_before(before: Config, now: Config) -> dict[str, Any]:
    """What the first start of a run chose, by dotted name, for the settings that are `auto` now."""
    names = ("model.remat", "micro_batches", "chunk")
    was, is_now = ({name: functools.reduce(getattr, name.split("."), one) for name in names} for one in (before, now))
    return {name: was[name] for name in names if is_now[name] == AUTO != was[name]}


def _check_folder(config: Config) -> dict[str, Any]:
    """The settings that a run in the folder has settled, such as the end of the schedule, if it can be this run's."""
    _check_place(config)
    folder = pathlib.Path(config.run_dir)
    kept, elsewhere = folder / "config.py", snapshot_elsewhere(config)
    if not kept.exists() and not config.overwrite and elsewhere is not None and elsewhere.exists():
        folder.mkdir(parents=True, exist_ok=True)  # this machine is new to the run
        if (log := elsewhere.with_name(LOG)).exists():
            write_text(folder / LOG, log.read_text())
        copy_start(elsewhere.parent, epath.Path(folder))
        write_text(kept, elsewhere.read_text())
    checkpoints = folders_of(folder, config.checkpoint.folder)[0]
    done = saved_steps(checkpoints)
    lost = bool(done) and not kept.exists() and _snapshot_in(checkpoints, done) is not None
    new = config.overwrite or not (kept.exists() or lost)
    is_run = is_snapshot(kept)
    inside = [place for place in folder.iterdir() if place.name != LOCK] if folder.exists() else []
    if config.overwrite and inside and not is_run:
        raise InputError(
            f"run_dir '{folder}' is no run folder (no snapshot config.py), and --overwrite deletes nothing else; empty "
            "it yourself, or choose another --run_dir"
        )
    ends = {"optim.schedule_steps": config.optim.schedule_steps or config.steps}
    settled = ends if new else _settled_by(kept, config, checkpoints, done)
    done = [] if config.overwrite else done
    if done and new:
        raise InputError(f"{folder} has checkpoints, but no config.py that says of what; choose another --run_dir")
    if done and done[-1] > config.steps:
        raise InputError(
            f"{folder} is trained to step {done[-1]} already, but steps={config.steps}: raise --steps to go on, or use "
            "another --run_dir, or --overwrite"
        )
    if new:  # it is of another run, or of a start that was refused
        (folder / "reference.json").unlink(missing_ok=True)
    return settled


def saved_in(config: Config) -> list[int]:
    """Steps that the same command would find saved, oldest first."""
    return (
        [] if config.overwrite else saved_steps(folders_of(pathlib.Path(config.run_dir), config.checkpoint.folder)[0])
    )


def _settled_by(file: pathlib.Path, config: Config, checkpoints: epath.Path, done: list[int]) -> dict[str, Any]:
    """The settings that the run of a snapshot has settled, by dotted name, if `config` may resume it.

    A snapshot that is damaged is restored from the newest checkpoint, which holds it too.
    """

    def read(folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
        before = read_run(folder)
        end = config.optim.schedule_steps or before.optim.schedule_steps or before.steps
        settled = {"optim.schedule_steps": end} | kept_settings(before, config) | chosen_before(before, config)
        differing = changed(as_kept(before), as_kept(_settled(config, settled)))
        names = [name for name in differing if not (config.accept_changed_data and name.startswith(DATA))]
        return settled, {name: differing[name] for name in names}

    refusal = None
    try:
        settled, differing = read(file.parent)
    except InputError as error:
        settled, differing, refusal = {}, {}, error
    missing = not file.exists()
    text = _snapshot_in(checkpoints, done) if refusal or differing or missing else None
    if text is not None and (missing or text != file.read_text(errors="replace")):
        with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(InputError):
            (pathlib.Path(scratch) / file.name).write_text(text)
            restored, other = read(pathlib.Path(scratch))
            if not other:
                write_text(file, text)
                state = "missing" if missing else "damaged"
                print(f"note: {file} was {state}; it is restored from the checkpoint of step {done[-1]}")
                settled, differing, refusal = restored, {}, None
    if refusal is not None:
        raise InputError(f"the snapshot of the run is damaged: {refusal}; use another --run_dir, or delete this one")
    if differing:
        listed = "; ".join(f"{name} was {old!r:.60}, is {now!r:.60}" for name, (old, now) in differing.items())
        raise InputError(
            f"{file.parent} holds a run with other settings: {listed}. Use another --run_dir, or --overwrite"
        )
    if kept := {name: value for name, value in settled.items() if name in KEPT}:
        listed = ", ".join(f"{name}={value!r}" for name, value in kept.items())
        print(f"note: {file.parent} was begun with {listed} and goes on so; today's default is another", flush=True)
    return settled


def _snapshot_in(checkpoints: epath.Path, done: list[int]) -> str | None:
    """The snapshot that the newest checkpoint holds; None without one."""
    text = read_about(checkpoints, done[-1]).get("snapshot") if done else None
    return text if isinstance(text, str) else None


def _check_place(config: Config) -> None:
    """InputError for a run folder that cannot be one, and for an address of checkpoints that cannot be reached."""
    folder = pathlib.Path(config.run_dir)
    inside = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if not config.run_dir.strip() or not inside.is_dir() or not os.access(inside, os.W_OK):
        why = f"'{inside}' is a file" if inside.is_file() else f"'{inside}' cannot be written to"
        why = why if config.run_dir.strip() else "empty"
        raise InputError(f"run_dir '{config.run_dir}': {why}; expected a folder of the run's own; change --run_dir")
    if config.checkpoint.folder is not None:
        check_address(config.checkpoint.folder)


def snapshot_elsewhere(config: Config) -> epath.Path | None:
    """Where a second snapshot is, with the checkpoints, so that a new machine can go on; None where they are here."""
    return None if config.checkpoint.folder is None else place_of(config.checkpoint.folder) / "config.py"


def keep_log(config: Config) -> None:
    """Copy the log beside checkpoints that are elsewhere, as it is: a new machine goes on with it."""
    elsewhere = snapshot_elsewhere(config)
    if elsewhere is not None:
        try:
            write_text(elsewhere.with_name(LOG), (pathlib.Path(config.run_dir) / LOG).read_text())
        except Exception as error:  # each store's client has its own; the run goes on without
            note(f"{LOG} could not be copied to {elsewhere.parent} ({type(error).__name__}: {error})")


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
            if place.name not in ("reference.json", LOCK):
                shutil.rmtree(place) if place.is_dir() else place.unlink()
        places = folders_of(folder, config.checkpoint.folder)
        for there in (*places, places[0].parent / BASE) if config.overwrite else ():
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
                dotted = f"{name}.{field.name}".lstrip(".")
                if dotted not in MAY_CHANGE:
                    walk(getattr(a, field.name), getattr(b, field.name), dotted)
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
