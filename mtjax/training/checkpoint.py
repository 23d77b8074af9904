"""Orbax checkpoints: written in the background and atomically, restored to the shardings of the mesh."""

import collections
import contextlib
import gc
import json
import logging
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import jax
import orbax.checkpoint as ocp
import tensorstore as ts
from etils import epath

from mtjax.distributed import hosts
from mtjax.errors import InputError, StorageError
from mtjax.io.files import write_text
from mtjax.training import checksums

# Files beside the checkpoints, to name the first difference: every leaf's shape, and the objective's settings.
SHAPES, MADE_BY = "shapes.json", "made_by.json"
METADATA = "_CHECKPOINT_METADATA"
"""Orbax's file in a checkpoint, which also holds what `Checkpoints.save` is told."""


class Unreadable(RuntimeError):
    """A corrupted checkpoint. The message is the first line of the error of Orbax, or names a leaf that differs."""


class Checkpoints:
    """The checkpoints of one folder, one sub-folder a step; with many hosts, all of them call every method together.

    A folder counts once Orbax has renamed it; what a kill left half-written is ignored and cleaned up later.

    Args:
        folder: made when missing; a path that all hosts share, or an address such as `gs://bucket/run/checkpoints`.
        keep: how many of the newest stay; None keeps all.
        made_by: what else the checkpoints depend on, by name: the objective's settings.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int | None = 3, made_by: Mapping[str, str] | None = None):
        if keep is not None and keep < 1:
            raise InputError(f"checkpoint.keep={keep}: expected at least 1; a run must be able to go on")
        self.folder, self.made_by = place_of(folder), dict(made_by or {})
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
            # Hosts meet under the step's number: two folders that save one step at once must not meet each other.
            multiprocessing_options=ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.folder.name),
        )
        with self._writing("made"):
            self.manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, oldest first."""
        return sorted(self.manager.all_steps())

    def save(self, step: int, state: Any, about: Mapping[str, Any] | None = None) -> None:
        """Start writing `state` under `step`, unless it exists; StorageError where this or the one before failed.

        Checksums of the leaves are kept in the checkpoint, and so is `about` (JSON); `read_about` gives it back.
        """
        if step in self.steps():
            return
        with self._writing(f"saved at step {step}, or before it,"):
            for name, what in ((SHAPES, _shapes(state)), (MADE_BY, self.made_by)):
                if what and hosts.index() == 0 and _beside(self.folder / name) is None:
                    write_text(self.folder / name, json.dumps({**what, "digest": checksums.digest_of(what)}, indent=1))
            kept: dict[str, Any] = {"step": step, "about": dict(about or {})}
            kept["digest"] = checksums.digest_of(kept)
            late = checksums.LateChecksums(checksums.begin_checksums(state))
            items = ocp.args.Composite(default=ocp.args.StandardSave(present(state)), checksums=late)
            self.manager.save(step, args=items, custom_metadata=kept)

    def restore_latest(self, like: Any) -> tuple[int, Any] | None:
        """The newest readable checkpoint as `(step, state)`; None when there is none.

        A corrupted checkpoint is passed over with a message for the one before it, and its folder gets the ending
        `.torn`, so that its step can be saved again. One that any host cannot read counts as corrupted for all.

        Args:
            like: abstract state with shapes, types and shardings (`abstract_state`).

        Raises:
            InputError: none can be read, or it is of another model, optimizer or objective; names the first difference.
        """
        torn: list[int] = []
        steps = hosts.on_first(self.steps)
        for step in reversed(steps):
            state, why = None, ""
            try:
                state = self.restore(step, like)
            except Unreadable as error:
                why = str(error)
            failed = [message for message in hosts.exchange(why) if message]
            if failed:
                print(f"checkpoint {self.folder / str(step)} cannot be read ({failed[0]}); trying the one before")
                torn.append(step)
                continue
            for old in torn if hosts.index() == 0 else ():
                aside = self.folder / f"{old}.torn"
                if aside.exists():
                    aside.rmtree()
                (self.folder / str(old)).rename(aside)
            if torn:
                hosts.barrier()
                self.manager.reload()
            return step, state
        if steps:
            raise InputError(f"no checkpoint in {self.folder} can be read (steps {steps}); start with --overwrite")
        return None

    def restore(self, step: int, like: Any) -> Any:
        """The state of one step, placed as `like` says; InputError naming the first leaf that differs."""
        return read_state(self.folder, step, like, self.made_by)

    def close(self) -> None:
        """Wait for pending writes, then release the folder; StorageError where they failed."""
        with self._writing("written"):
            self.manager.wait_until_finished()
        self.manager.close()

    @contextlib.contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Turn errors of the storage into one sentence."""
        try:
            yield
        except jax.errors.JaxRuntimeError:  # not the storage: a collective or a barrier that a lost host did not reach
            raise
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise StorageError(
                f"a checkpoint could not be {what} in {self.folder} ({first_line(error)}); earlier ones stay as they "
                "were: free some space, or fix the storage, and start again"
            ) from error


def place_of(folder: str | os.PathLike[str]) -> epath.Path:
    """A folder of this machine as an absolute path without `..`, which Orbax refuses, or an address as it is."""
    return epath.Path(folder if "://" in str(folder) else pathlib.Path(folder).expanduser().resolve())


def check_address(folder: str) -> None:
    """InputError for an address of an unknown kind, whose package is not installed, or whose store does not answer."""
    try:
        place_of(folder).exists()
    except Exception as error:  # each client has its own: no package, no network, no credentials, no such bucket
        raise InputError(
            f"checkpoint.folder='{folder}' cannot be reached ({first_line(error)}); expected a folder, gs://... or "
            "s3://... that this machine may write to"
        ) from error


def folders_of(run_dir: str | os.PathLike[str], elsewhere: str | None = None) -> tuple[epath.Path, epath.Path]:
    """The folders of a run's newest and best checkpoints: in its folder, or elsewhere (`checkpoint.folder`)."""
    place = place_of(run_dir if elsewhere is None else elsewhere)
    return place / "checkpoints", place / "best"


def saved_steps(folder: str | os.PathLike[str]) -> list[int]:
    """Steps with a complete checkpoint in a folder, oldest first, by name alone; read-only."""
    place = place_of(folder)
    return sorted(int(entry.name) for entry in place.iterdir() if entry.name.isdigit()) if place.is_dir() else []


def abstract_state(state: Any) -> Any:
    """Shapes, types and shardings of a state: what `Checkpoints.restore` needs, without the numbers."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def _shapes(tree: Any) -> dict[str, list[int]]:
    """Shape of each leaf by its path."""
    leaves = zip(checksums.leaf_names(tree), jax.tree.leaves(tree), strict=True)
    return {name: list(leaf.shape) for name, leaf in leaves}


def present(state: Any) -> Any:
    """A named tuple without its fields that are None, so that checkpoints do not change when a state gets a new one."""
    if not hasattr(state, "_fields"):
        return state
    fields = {name: value for name, value in state._asdict().items() if value is not None}
    return collections.namedtuple(type(state).__name__, fields)(**fields)  # noqa: PYI024 - made of what is there


def saved_shapes(folder: epath.Path) -> dict[str, list[int]]:
    """Shape of each leaf of a folder's checkpoints by its path; InputError where the file with them is lost."""
    if (kept := _beside(folder / SHAPES)) is None:
        raise InputError(f"{folder / SHAPES} is missing or damaged; bring it back")
    return kept


def _beside(file: epath.Path) -> dict[str, Any] | None:
    """The entries of a file beside the checkpoints; None if it is missing or damaged. Old runs have no digest in it."""
    try:
        kept = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return kept if kept.pop("digest", None) in (None, checksums.digest_of(kept)) else None


def _metadata(folder: epath.Path, step: int) -> dict[str, Any]:
    """What `Checkpoints.save` kept in a checkpoint; empty for one of an earlier version. Unreadable if damaged."""
    file = folder / str(step) / METADATA
    try:
        kept = dict(json.loads(file.read_text()).get("custom_metadata") or {}) if file.exists() else {}
    except (ValueError, TypeError, AttributeError) as error:
        raise Unreadable(f"{METADATA} is damaged ({error!r:.80})") from error
    if kept and kept.pop("digest", None) != checksums.digest_of(kept):
        raise Unreadable(f"{METADATA} is damaged: it does not have its own checksum")
    if kept.get("step", step) != step:
        raise Unreadable(f"it is the checkpoint of step {kept['step']}")
    return kept


def read_about(folder: epath.Path, step: int) -> dict[str, Any]:
    """The `about` of a checkpoint; empty for one of an earlier version, or where it cannot be read."""
    with contextlib.suppress(Unreadable, OSError):
        return dict(_metadata(folder, step).get("about", {}))
    return {}


def read_state(folder: epath.Path, step: int, like: Any, made_by: Mapping[str, str] | None = None) -> Any:
    """The state of one step in a folder of checkpoints; read-only, as a run may be going on in it.

    Raises:
        InputError: it is of another model or optimizer, or of another objective than `made_by`, where that is given;
            names the first difference.
        Unreadable: it is corrupted, or its numbers do not have the checksums that were saved with them.
    """
    _refuse_other(folder, step, SHAPES, "model or optimizer", _shapes(like))
    _refuse_other(folder, step, MADE_BY, "objective", dict(made_by or {}))
    place = folder / str(step) / "default"
    local, address = {"driver": "file", "path": f"{place}/"}, f"{quote(str(place), safe=':/')}/"
    state: Any = None
    problem: Unreadable | None = None
    try:
        # Lists the arrays first: if the index of a corrupted checkpoint fails inside Orbax, the reads that are still
        # under way print tracebacks, since Orbax has closed their event loop.
        store = ts.KvStore.open({"driver": "ocdbt", "base": address if "://" in address else local}).result()
        store.list().result()
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(place, present(like))
    except Exception as error:  # Orbax raises ValueError, KeyError, OSError and bare Exception
        problem = Unreadable(first_line(error))
    if problem is not None:
        _collect_unfinished_reads()
        raise problem
    try:
        kept = _metadata(folder, step)
        saved = kept.get("checksums") or checksums.saved_checksums(folder / str(step), required=bool(kept))
    except ValueError as error:
        raise Unreadable(str(error)) from error
    if saved:
        found = checksums.checksums(state)
        damaged = sorted(name for name in saved.keys() | found.keys() if saved.get(name) != found.get(name))
        if damaged:
            raise Unreadable(f"the numbers of {len(damaged)} of its arrays are damaged, such as {damaged[0]}")
    return type(like)(**state._asdict()) if hasattr(like, "_fields") else state


def _collect_unfinished_reads() -> None:
    """Collect, in silence, the reads that Orbax leaves unfinished where one array of a checkpoint cannot be read.

    Each raises when it is collected, and its traceback would be printed after the one line that says what is wrong.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    log = logging.getLogger("asyncio")
    disabled, log.disabled = log.disabled, True
    try:
        for _ in range(3):  # what a thread of Orbax still holds is let go a moment later
            gc.collect()
            time.sleep(0.05)
    finally:
        sys.unraisablehook, log.disabled = hook, disabled


def first_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _refuse_other(folder: epath.Path, step: int, name: str, what: str, want: Mapping[str, Any]) -> None:
    """InputError naming the first entry of a file beside the checkpoints that differs from `want`."""
    have = _beside(folder / name) if want else None
    if have is None:
        return  # Orbax compares too, in its own words
    for path in sorted(have.keys() | want.keys()):
        if have.get(path) != want.get(path):
            raise InputError(
                f"{folder / str(step)} is of another {what}: '{path}' is "
                f"{have.get(path, 'absent')} there and {want.get(path, 'absent')} here; use the config it was made "
                "with, or another --run_dir"
            )
