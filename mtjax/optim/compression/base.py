"""The contract of a compression: from the gradients of workers to one gradient, before clipping and optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import optax
from jaxtyping import Array

from mtjax.registry import Registry

COMPRESSIONS = Registry("compression", requires=("workers",))
"""Every compression of gradients by name."""


class OfWorkers(optax.GradientTransformation):
    """An optimizer whose `update` takes the gradients of workers, `[workers, ...]`; else as in optax.

    The training step computes them where it finds `workers`: that of worker i is `workers` times the part of the mean
    gradient that its rows give, so that their mean is the gradient of the batch.
    """

    workers: int
    metrics: Callable[[Any], Mapping[str, Array]]  # of the optimizer's state after the update
    gradient: Callable[[Any], Any]  # what the optimizer got in that update

    def __new__(cls, init: Any, update: Any, workers: int, metrics: Any, gradient: Any) -> "OfWorkers":
        """From its functions and the number of workers."""
        made = super().__new__(cls, init, update)
        made.workers, made.metrics, made.gradient = workers, metrics, gradient
        return made


@runtime_checkable
class Compression(Protocol):
    """A frozen dataclass; its fields are its settings."""

    workers: int  # parts that a batch is split into, each with a gradient of its own

    def __call__(self) -> optax.GradientTransformation:
        """From gradients `[workers, ...]` to one gradient. What its state keeps of each is in a field `workers`."""
        ...

    def gradient(self, state: Any) -> Any:
        """What came out of the last update."""
        ...

    def metrics(self, state: Any) -> Mapping[str, Array]:
        """What to log of the state after an update, by name."""
        ...


def after_workers(compression: Compression, optimizer: optax.GradientTransformation) -> OfWorkers:
    """The optimizer on what the compression makes of the workers' gradients."""
    own = compression()

    def update(gradients: Any, state: Any, params: Any = None, **more: Any) -> tuple[Any, Any]:
        gradient, first = own.update(gradients, state[0], params)
        updates, second = optax.with_extra_args_support(optimizer).update(gradient, state[1], params, **more)
        return updates, (first, second)

    init = lambda params: (own.init(params), optimizer.init(params))
    metrics, gradient = (lambda state, of=of: of(state[0]) for of in (compression.metrics, compression.gradient))
    return OfWorkers(init, update, compression.workers, metrics, gradient)


def over_data(fn: Callable[..., Any], split: Any, out: Any) -> Callable[..., Any]:
    """`fn(summed, gathered, ...)` on each part of the data axis of the mesh in force, without a mesh on all at once.

    `split` and `out` say, for each argument and result, whether it has workers in front. `summed` adds an array up over
    the parts, `gathered` joins the workers of all.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or "data" not in mesh.axis_names:
        return lambda *args: fn(lambda x: x, lambda x: x, *args)
    spec = lambda has: jax.tree.map(lambda own: jax.P("data") if own else jax.P(), has)
    summed = lambda x: jax.lax.psum(x, "data")
    gathered = lambda x: jax.lax.all_gather(x, "data", axis=0, tiled=True)
    body = lambda *args: fn(summed, gathered, *args)
    return jax.shard_map(body, in_specs=spec(split), out_specs=spec(out), axis_names={"data"}, check_vma=False)
