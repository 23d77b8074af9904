"""Rows between hosts and mesh: which of a batch are this host's, how they get there, and how numbers come back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from mtjax.distributed.sharding import spec_of


def split_by_rows(mesh: Mesh) -> NamedSharding:
    """The placement of what has rows in front: split over the axes that `batch` names in the table."""
    return NamedSharding(mesh, spec_of(("batch",)))


def on_all(mesh: Mesh) -> NamedSharding:
    """The placement of what every device has whole, and every host can read."""
    return NamedSharding(mesh, PartitionSpec())


def row_shards(mesh: Mesh | None) -> tuple[int, int]:
    """Into how many parts rows are split: those that this host's devices hold, and all."""
    if mesh is None:
        return 1, 1
    place = split_by_rows(mesh)
    parts = lambda places: len({at[0].indices(mesh.size)[0] for at in places.values()})
    return parts(place.addressable_devices_indices_map((mesh.size,))), parts(place.devices_indices_map((mesh.size,)))


def own_rows(mesh: Mesh | None, batch_size: int) -> Int[np.ndarray, " n"]:
    """Numbers of the rows of a batch that this host's devices hold, ascending; all of them with one host.

    Hosts that hold parts of one copy of the model get the same numbers; together the hosts get every row. The devices
    must divide the size (`mtjax.training.step.check_rows`).
    """
    if mesh is None or jax.process_count() == 1:
        return np.arange(batch_size)
    slices = split_by_rows(mesh).addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[at] for at in slices]))


def place_rows(tree: Any, mesh: Mesh | None) -> Any:
    """Put arrays `[rows, ...]` of this host on the mesh: its own rows (`own_rows`), which are all on one host."""
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    place = split_by_rows(mesh)
    if jax.process_count() > 1:
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(place, np.asarray(x)), tree)
    return jax.tree.map(lambda x: jax.make_array_from_callback(np.shape(x), place, lambda at: np.asarray(x)[at]), tree)


def read_own_rows(tree: Any) -> Any:
    """The way back of `place_rows`: this host's rows of arrays that are split by rows, as NumPy."""

    def rows_of(x: jax.Array) -> np.ndarray:
        if x.is_fully_addressable:
            return np.asarray(x)
        parts = {shard.index[0].indices(x.shape[0])[0]: shard.data for shard in x.addressable_shards}
        return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])

    return jax.tree.map(rows_of, tree)


def read_whole(tree: Any) -> Any:
    """Arrays as NumPy, whole on every host, wherever their parts lie; every host must ask at the same place."""
    far = lambda x: isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated)
    return jax.tree.map(lambda x: multihost_utils.process_allgather(x, tiled=True) if far(x) else np.asarray(x), tree)
