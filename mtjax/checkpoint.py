"""Checkpoints by Orbax: written in the background, whole or not at all, restored where the mesh wants them."""

import json
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from mtjax.errors import InputError

ORBAX_FAILURES = (ValueError, KeyError, FileNotFoundError, OSError, RuntimeError)


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
        self.shapes = self.folder / "shapes.json"  # every leaf's shape, to name the first that differs
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        return sorted(self.manager.all_steps())

    def save(self, step: int, state: Any) -> None:
        """Start writing `state` under `step`; a step that is there already is left alone."""
        if step not in self.steps():
            if not self.shapes.exists() and jax.process_index() == 0:
                write_whole(self.shapes, json.dumps(_shapes(state), indent=1))
            self.manager.save(step, args=ocp.args.StandardSave(state))

    def restore_latest(self, like: Any) -> tuple[int, Any] | None:
        """The newest readable checkpoint as `(step, state)`; None when there is none.

        A torn checkpoint is passed over with a warning on the terminal, for the one before it.

        Args:
            like: abstract state with shapes, types and shardings (`abstract_state`).

        Raises:
            InputError: the checkpoint is of another model or optimizer; names the first differing leaf.
        """
        for step in reversed(self.steps()):
            try:
                return step, self.restore(step, like)
            except ORBAX_FAILURES as error:
                if isinstance(error, InputError):
                    raise
                print(
                    f"checkpoint {self.folder / str(step)} cannot be read ({_first_line(error)}); trying the one before"
                )
        if self.steps():
            raise InputError(
                f"no checkpoint in {self.folder} can be read (steps {self.steps()}); start with --overwrite"
            )
        return None

    def restore(self, step: int, like: Any) -> Any:
        """The state of one step, placed as `like` says; InputError naming the first leaf that differs."""
        if self.shapes.exists():
            _refuse_other(json.loads(self.shapes.read_text()), _shapes(like), self.folder / str(step))
        return self.manager.restore(step, args=ocp.args.StandardRestore(like))

    def close(self) -> None:
        """Wait for what is being written, then let go of the folder."""
        self.manager.wait_until_finished()
        self.manager.close()


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


def _refuse_other(have: dict[str, list[int]], want: dict[str, list[int]], where: pathlib.Path) -> None:
    for path in sorted(have.keys() | want.keys()):
        if have.get(path) != want.get(path):
            raise InputError(
                f"{where} is of another model or optimizer: '{path}' is {have.get(path, 'absent')} there and "
                f"{want.get(path, 'absent')} here; use the config it was made with, or another --run_dir"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
