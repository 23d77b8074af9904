"""Checkpoints by Orbax: written in the background, whole or not at all, restored where the mesh wants them."""

import json
import logging
import pathlib
import shutil
import sys
from typing import Any

import jax
import orbax.checkpoint as ocp

from mtjax.errors import InputError

SHAPES = "shapes.json"
"""Beside the checkpoints: every leaf's shape, to name the first that differs."""


class Unreadable(RuntimeError):
    """A checkpoint that cannot be read: torn, cut short or spoilt. The message is the first line of what Orbax says."""


class Checkpoints:
    """The checkpoints of one folder, one sub-folder a step.

    A folder counts once Orbax has renamed it; what a kill left half-written is not seen and is cleaned up later.

    Args:
        folder: made when missing.
        keep: how many of the newest stay; None keeps all.
    """

    def __init__(self, folder: str | pathlib.Path, keep: int | None = 3):
        if keep is not None and keep < 1:
            raise InputError(f"checkpoint.keep={keep}: expected at least 1; a run must be able to go on")
        self.folder = pathlib.Path(folder).absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True, enable_async_checkpointing=True)
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        return sorted(self.manager.all_steps())

    def save(self, step: int, state: Any) -> None:
        """Start writing `state` under `step`; a step that is there already is left alone."""
        if step not in self.steps():
            kept = self.folder / SHAPES
            if not kept.exists() and jax.process_index() == 0:
                write_whole(kept, json.dumps(_shapes(state), indent=1))
            self.manager.save(step, args=ocp.args.StandardSave(state))

    def restore_latest(self, like: Any) -> tuple[int, Any] | None:
        """The newest readable checkpoint as `(step, state)`; None when there is none.

        A torn checkpoint is passed over with a warning on the terminal, for the one before it, and its folder gets the
        ending `.torn`, so that its step can be saved again.

        Args:
            like: abstract state with shapes, types and shardings (`abstract_state`).

        Raises:
            InputError: none can be read, or it is of another model or optimizer; names the first differing leaf.
        """
        torn: list[int] = []
        for step in reversed(self.steps()):
            try:
                state = self.restore(step, like)
            except Unreadable as error:
                print(f"checkpoint {self.folder / str(step)} cannot be read ({error}); trying the one before")
                torn.append(step)
                continue
            self._set_aside(torn)
            return step, state
        if self.steps():
            raise InputError(
                f"no checkpoint in {self.folder} can be read (steps {self.steps()}); start with --overwrite"
            )
        return None

    def _set_aside(self, torn: list[int]) -> None:
        """Rename torn checkpoints, once an older one has been read."""
        for step in torn if jax.process_index() == 0 else ():
            aside = self.folder / f"{step}.torn"
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / str(step)).rename(aside)
        if torn:
            self.manager.reload()

    def restore(self, step: int, like: Any) -> Any:
        """The state of one step, placed as `like` says; InputError naming the first leaf that differs."""
        return read_state(self.folder, step, like)

    def close(self) -> None:
        """Wait for what is being written, then let go of the folder."""
        self.manager.wait_until_finished()
        self.manager.close()


def saved_steps(folder: str | pathlib.Path) -> list[int]:
    """Steps with a whole checkpoint in a folder, oldest first, by name alone: whatever is there is only looked at."""
    return sorted(int(place.name) for place in pathlib.Path(folder).glob("*") if place.name.isdigit())


def abstract_state(state: Any) -> Any:
    """Shapes, types and shardings of a state: what `Checkpoints.restore` needs, without the numbers."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def write_whole(path: pathlib.Path, text: str) -> None:
    """Write a small file so that a kill leaves the old one or the new one: to a neighbour, then renamed."""
    neighbour = path.with_name(path.name + ".writing")
    neighbour.write_text(text)
    neighbour.replace(path)


def _shapes(tree: Any) -> dict[str, list[int]]:
    """Shape of each leaf by its path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    name = lambda part: str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))))
    return {"/".join(map(name, path)): list(leaf.shape) for path, leaf in flat}


def read_state(folder: pathlib.Path, step: int, like: Any) -> Any:
    """The state of one step in a folder of checkpoints, which is only looked at: a run may be going on in it.

    Raises:
        InputError: it is of another model or optimizer; names the first leaf that differs from `like`.
        Unreadable: it cannot be read.
    """
    _refuse_other(folder, step, like)
    if sys.unraisablehook is not _quiet:
        sys.unraisablehook = _quiet
        logging.getLogger("asyncio").addFilter(lambda line: not _of_a_torn_read(line.getMessage()))
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder / str(step) / "default", like)
    except Exception as error:  # Orbax raises ValueError, KeyError, OSError and bare Exception
        raise Unreadable((str(error).strip().splitlines() or [type(error).__name__])[0][:200]) from error


def _of_a_torn_read(text: str) -> bool:
    """Whether a message comes from a read that was under way when another one of a torn checkpoint failed.

    It ends after Orbax has stopped listening, with an error that nobody waits for.
    """
    return any(words in text for words in ("Event loop is closed", "_read_array", "OCDBT", "async_deserialize"))


def _quiet(found: Any, before: Any = sys.unraisablehook) -> None:
    """Python's hook for errors that cannot be raised, but for those of torn reads."""
    if not _of_a_torn_read(f"{found.exc_value} {found.object!r}"):
        before(found)


def _refuse_other(folder: pathlib.Path, step: int, like: Any) -> None:
    """InputError naming the first leaf by which the checkpoints of a folder differ from `like`."""
    kept = folder / SHAPES
    if not kept.exists():
        return
    try:
        have = {str(name): list(shape) for name, shape in json.loads(kept.read_text()).items()}
    except (ValueError, AttributeError, TypeError):
        return  # spoilt; Orbax compares too, in its own words
    want = _shapes(like)
    for path in sorted(have.keys() | want.keys()):
        if have.get(path) != want.get(path):
            raise InputError(
                f"{folder / str(step)} is of another model or optimizer: '{path}' is {have.get(path, 'absent')} there "
                f"and {want.get(path, 'absent')} here; use the config it was made with, or another --run_dir"
            )
