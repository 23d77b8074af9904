"""The gradients of data-parallel workers, before they are added up: for compressions (`optim.compression`)."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from mtjax.distributed.placement import row_shards
from mtjax.errors import InputError
from mtjax.types import Batch

Rows = Callable[..., tuple[Any, Any]]  # `(batch, key, *whole) -> (gradient, means)` of one worker's rows


def check_workers(rows: int, micro_batches: int, workers: int, mesh: Mesh | None) -> None:
    """InputError unless the mesh divides the workers, and the rows can be split over them and their micro-batches."""
    data = 1 if mesh is None else mesh.shape["data"]
    if workers % data:
        raise InputError(
            f"optim.compression.workers={workers} must be a multiple of mesh.data={data}, which it is split over: set "
            f"--optim.compression.workers={data} or a multiple, or --mesh.data to a divisor"
        )
    within = row_shards(mesh)[1] // data
    if rows % (workers * within * micro_batches):
        raise InputError(
            f"batch_size={rows} must be a multiple of optim.compression.workers={workers} times micro_batches="
            f"{micro_batches} times the {within} devices that split a worker's rows; change --batch_size or "
            "--optim.compression.workers"
        )


def worker_gradients(of_rows: Rows, workers: int, batch: Batch, key: PRNGKeyArray, *whole: Any) -> tuple[Any, Any]:
    """The gradient of each worker `[workers, ...]`, and the sum of the means.

    Worker w has the w-th of equal parts of the rows. On a mesh each part of its data axis computes its own workers one
    after the other, inside `shard_map`, so that nothing is added up over the axis; the other axes split each worker's
    work as they split a run without workers.

    Args:
        of_rows: gradient and means of one worker's rows.
        workers: how many; the data axis divides them.
        batch, key: the rows of all, and a key that each worker folds its number into.
        whole: what else `of_rows` takes, such as parameters; equal on the data axis.
    """
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jax.numpy.arange(workers))

    def local(batch: Any, keys: Any, whole: Any) -> tuple[Any, Any]:
        here = keys.shape[0]
        parts = jax.tree.map(lambda x: x.reshape(here, x.shape[0] // here, *x.shape[1:]), batch)
        gradients, means = jax.lax.map(lambda part: of_rows(*part, *whole), (parts, keys))
        return gradients, jax.tree.map(lambda x: x.sum(0), means)

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return local(batch, keys, whole)

    def on_part(batch: Any, keys: Any, whole: Any) -> tuple[Any, Any]:
        gradients, means = local(batch, keys, whole)
        return gradients, jax.lax.psum(means, "data")

    # Without the check, since with it the gradient by parameters that are equal on the axis is added up over it.
    specs: Any = {"in_specs": (jax.P("data"), jax.P("data"), jax.P()), "out_specs": (jax.P("data"), jax.P())}
    made: tuple[Any, Any] = jax.shard_map(on_part, axis_names={"data"}, check_vma=False, **specs)(batch, keys, whole)
    return made
