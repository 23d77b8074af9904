"""Checkpoints by Orbax: written in the background, whole or not at all, restored where the mesh wants them."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from mtjax import hosts
from mtjax.errors import InputError, StorageError

ORBAX_FAILURES = (ValueError, KeyError, FileNotFoundError, OSError, RuntimeError)


class Checkpoints:
    """The checkpoints of one folder, one sub-folder a step; with many hosts, all of them call every method together.

    A folder counts once Orbax has renamed it; what a kill left half-written is not seen and is cleaned up later.

    Args:
        folder: made when missing; a path that all hosts share, or an address such as `gs://bucket/run/checkpoints`.
        keep: how many of the newest stay; None keeps all.
        made_by: what else the checkpoints belong to, by name, such as the objective's settings.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int | None = 3, made_by: Mapping[str, str] | None = None):
        if keep is not None and keep < 1:
            raise InputError(f"checkpoint.keep={keep}: expected at least 1; a run must be able to go on")
        self.folder = place_of(folder)
        self.made_by = dict(made_by or {})
        self.about = self.folder / "about.json"  # every leaf's type and shape, to name the first that differs
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            enable_async_checkpointing=True,
            # Hosts meet under the step's number: two folders that save one step at once must not meet each other.
            multiprocessing_options=ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=self.folder.name),
        )
        with self._storage("is made"):
            self.manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        return sorted(self.manager.all_steps())

    def save(self, step: int, state: Any) -> None:
        """Start writing `state` under `step`; a step that is there already is left alone.

        Raises:
            StorageError: this one, or the one before, could not be written; those from earlier are as they were.
        """
        if step in self.steps():
            return
        with self._storage(f"of step {step} or the one before"):
            if hosts.index() == 0 and not self.about.exists():
                write_whole(self.about, json.dumps(_leaves(state) | self.made_by, indent=1))
            self.manager.save(step, args=ocp.args.StandardSave(state))

    def restore_latest(self, like: Any) -> tuple[int, Any] | None:
        """The newest readable checkpoint as `(step, state)`; None when there is none.

        A torn checkpoint is passed over with a warning on the terminal, for the one before it; one that any host cannot
        read is torn for all.

        Args:
            like: abstract state with shapes, types and shardings (`abstract_state`).

        Raises:
            InputError: the checkpoint is of another model, optimizer or objective; names the first differing leaf.
        """
        steps = hosts.on_first(self.steps)
        for step in reversed(steps):
            state, why = None, ""
            try:
                state = self.restore(step, like)
            except InputError:
                raise
            except ORBAX_FAILURES as error:
                why = _first_line(error)
            failures = [said for said in hosts.exchange(why) if said]
            if not failures:
                return step, state
            print(f"checkpoint {self.folder / str(step)} cannot be read ({failures[0]}); trying the one before")
        if steps:
            raise InputError(f"no checkpoint in {self.folder} can be read (steps {steps}); start with --overwrite")
        return None

    def restore(self, step: int, like: Any) -> Any:
        """The state of one step, placed as `like` says; InputError naming the first leaf that differs."""
        if self.about.exists():
            _refuse_other(json.loads(self.about.read_text()), _leaves(like) | self.made_by, self.folder / str(step))
        return self.manager.restore(step, args=ocp.args.StandardRestore(like))

    def close(self) -> None:
        """Wait for what is being written, then let go of the folder; StorageError where it could not be written."""
        with self._storage("being written"):
            self.manager.wait_until_finished()
        self.manager.close()

    @contextlib.contextmanager
    def _storage(self, what: str) -> Iterator[None]:
        """Turn what storage has to say into one sentence."""
        try:
            yield
        except ORBAX_FAILURES as error:
            raise StorageError(
                f"the checkpoint {what} could not be written to {self.folder} ({_first_line(error)}); those from "
                "before stay as they were: make room, or mend the storage, and start again"
            ) from error


def place_of(folder: str | os.PathLike[str]) -> epath.Path:
    """A folder of this machine as an absolute path, or an address (`gs://...`, `s3://...`) as it is."""
    return epath.Path(folder if "://" in str(folder) else pathlib.Path(folder).expanduser().absolute())


def folders_of(run_dir: pathlib.Path, elsewhere: str | None = None) -> tuple[epath.Path, epath.Path]:
    """Where a run's newest and its best checkpoints are: in its folder, or in another place (`checkpoint.folder`)."""
    place = place_of(run_dir if elsewhere is None else elsewhere)
    return place / "checkpoints", place / "best"


def abstract_state(state: Any) -> Any:
    """Shapes, types and shardings of a state: what `Checkpoints.restore` needs, without the numbers."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def write_whole(path: pathlib.Path | epath.Path, text: str) -> None:
    """Write a small file so that a kill leaves the old one or the new one: to a neighbour, then renamed."""
    neighbour = path.with_name(f"{path.name}.writing-{hosts.index()}")
    neighbour.write_text(text)
    neighbour.replace(path)


def _leaves(tree: Any) -> dict[str, str]:
    """Type and shape of each leaf by its path, such as `float32[8, 16]`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda part: str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))))
    return {"/".join(map(name, path)): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in flat}


def _refuse_other(have: Mapping[str, str], want: Mapping[str, str], where: Any) -> None:
    for path in sorted(have.keys() | want.keys()):
        if have.get(path) != want.get(path):
            raise InputError(
                f"{where} is of another model, optimizer or objective: '{path}' is {have.get(path, 'absent')} there "
                f"and {want.get(path, 'absent')} here; use the config it was made with, or another --run_dir"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
