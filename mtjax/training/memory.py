"""What an objective keeps from step to step: numbers of every example, and running statistics of the whole training.

Both are part of the training state, saved and restored with the parameters, and read and written inside the compiled
step. The memory of examples is float32 arrays over all examples, split over the devices that split rows. An example is
known by its number (`extras["segment_id"]`), so packing and the order of batches change nothing, and a resumed run goes
on bit for bit. Running statistics are float32 scalars beside them, equal on every device.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float

from mtjax.distributed import hosts
from mtjax.distributed.placement import read_whole
from mtjax.distributed.sharding import RULES, constrain, ways
from mtjax.io.files import write_text
from mtjax.types import Batch, Remember

PADDED = 4096  # Arrays are filled up to a multiple, so that any mesh can split them, and a checkpoint fits any mesh.
SEEN = "seen"  # The array that every memory has: how many batches an example was in.

Memory = dict[str, Any]
"""Arrays `[N]` by name, N being the number of examples, rounded up; and the scalars of running statistics."""


class Gathered(NamedTuple):
    """What the examples of some batches gave, as sums and counts by example number."""

    total: Float[Array, " N"]
    number: Float[Array, " N"]


def memory_names(objective: Any) -> tuple[str, ...]:
    """The arrays that an objective keeps; none of most objectives."""
    names = tuple(getattr(objective, "memory", ()))
    return (SEEN, *names) if names else ()


def running_names(objective: Any) -> tuple[str, ...]:
    """The running statistics that an objective keeps; none of most objectives."""
    return tuple(getattr(objective, "running", ()))


def placement(objective: Any, mesh: Mesh | None) -> dict[str, Any] | None:
    """Where each array and scalar lives; None where the objective keeps none."""
    names, scalars = memory_names(objective), running_names(objective)
    if not names and not scalars:
        return None
    if mesh is None:
        return dict.fromkeys((*names, *scalars))
    split = jax.P(RULES["batch"]) if PADDED % ways(mesh, "batch") == 0 else jax.P()
    whole = dict.fromkeys(scalars, NamedSharding(mesh, jax.P()))
    return dict.fromkeys(names, NamedSharding(mesh, split)) | whole


def new_memory(objective: Any, examples: int, mesh: Mesh | None = None) -> Memory | None:
    """The memory before the first step, all zeros; None where the objective keeps none."""
    places = placement(objective, mesh)
    if places is None:
        return None
    size, scalars = -(-max(examples, 1) // PADDED) * PADDED, running_names(objective)
    make = lambda: {name: jnp.zeros(() if name in scalars else size, jnp.float32) for name in places}
    made: Memory = jax.jit(make, out_shardings=None if mesh is None else places)()
    return made


def running_of(memory: Memory | None) -> Memory:
    """The running statistics of a memory by name; none where there are none."""
    return {name: value for name, value in (memory or {}).items() if value.ndim == 0}


def examples_of(memory: Memory | None) -> Memory:
    """The arrays over examples of a memory by name; none where there are none."""
    return {name: value for name, value in (memory or {}).items() if value.ndim}


def write_memory(file: pathlib.Path, memory: Memory, ids: Sequence[str]) -> None:
    """Write what is kept of each example that was seen, one JSON object a line; all hosts must call it together.

    Nothing is written where only running statistics are kept.
    """
    if SEEN not in memory:
        return
    kept = {name: values[: len(ids)] for name, values in read_whole(examples_of(memory)).items()}
    numbers = np.flatnonzero(kept[SEEN]).tolist()
    lines = ({"example": ids[n]} | {name: float(values[n]) for name, values in kept.items()} for n in numbers)
    hosts.on_first(lambda: write_text(file, "".join(json.dumps(line) + "\n" for line in lines)))


def recalled(memory: Memory, batch: Batch) -> Batch:
    """The batch with what is remembered of its examples: `extras["segment_NAME"]`, and `segment_seen`."""
    if not (arrays := examples_of(memory)):
        return batch
    ids = jnp.asarray(batch.extras["segment_id"])
    found = {f"segment_{name}": jnp.where(ids >= 0, values[jnp.maximum(ids, 0)], 0) for name, values in arrays.items()}
    return batch._replace(extras={**batch.extras, **found})


def size_of(memory: Memory | None) -> int | None:
    """N, the numbers of each array; None without a memory of examples."""
    return None if memory is None or SEEN not in memory else int(memory[SEEN].shape[0])


def gathered(metrics: Mapping[str, Any], batch: Batch, size: int | None) -> dict[str, Any]:
    """An objective's metrics with every `Remember` by example number, `[size]`; without them where there is no size."""
    out = {name: value for name, value in metrics.items() if not isinstance(value, Remember)}
    if size is None:
        return out
    ids = jnp.asarray(batch.extras["segment_id"])
    for name, note in metrics.items():
        if isinstance(note, Remember):
            live = note.live & (ids >= 0)
            place = jnp.where(live, ids, size)  # what is not live is dropped
            add = lambda values, place=place: jnp.zeros(size, jnp.float32).at[place].add(values, mode="drop")
            values = jax.lax.stop_gradient(jnp.where(live, note.values, 0))
            out[name] = Gathered(add(values), add(jnp.asarray(live, jnp.float32)))
    return out


def renewed(memory: Memory | None, metrics: Mapping[str, Any], running: Mapping[str, Any] | None = None) -> Any:
    """The memory after a step, with its `running` statistics; None without one.

    Of an example that stood several times in the batch, the mean is kept.
    """
    if memory is None:
        return None
    scalars = running_of(memory) | dict(running or {})
    if SEEN not in memory:
        return scalars
    notes = {name: note for name, note in metrics.items() if isinstance(note, Gathered)}
    memory = examples_of(memory)
    new, here = dict(memory), jnp.zeros_like(memory[SEEN])
    for name, note in notes.items():
        new[name] = jnp.where(note.number > 0, note.total / jnp.maximum(note.number, 1), memory[name])
        here = jnp.maximum(here, jnp.asarray(note.number > 0, jnp.float32))
    arrays = {name: constrain(values, "batch") for name, values in (new | {SEEN: memory[SEEN] + here}).items()}
    return arrays | scalars
