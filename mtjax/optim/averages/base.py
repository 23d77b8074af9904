"""The contract of an average, and where it stands in the training state."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mtjax.registry import Registry

AVERAGES = Registry("average")
"""Every average of parameters by name."""


class AverageState(NamedTuple):
    """An average as a part of the optimizer's state, so that it is saved, resumed and split like the parameters."""

    count: Any  # updates so far, int32
    mean: Any  # like the parameters, float32
    start: Any  # the parameters before the first update, or None
    pull: Any  # how much of the way from the start is added to the mean: 0 without `start`


class Average(Protocol):
    """A frozen dataclass; its fields are its settings."""

    def __call__(self) -> optax.GradientTransformation:
        """The last part of the optimizer: updates pass, the state follows the parameters (`following`)."""
        ...


def following(
    rule: Callable[[Array, Any, Any], Any], pull: Callable[[Array], Array] | None = None
) -> optax.GradientTransformation:
    """An average that `rule` updates: `(number of this update, mean, parameter) -> mean`, leaf by leaf.

    With `pull` the average is `mean + pull(number) (parameters - start)`.
    """

    def init(params: Any) -> AverageState:
        copy = jax.tree.map(jnp.array, params)
        start = None if pull is None else jax.tree.map(jnp.array, params)
        return AverageState(jnp.zeros((), jnp.int32), copy, start, jnp.zeros(()))

    def update(updates: Any, state: AverageState, params: Any = None) -> tuple[Any, AverageState]:
        count = state.count + 1
        new = optax.apply_updates(params, updates)
        mean = jax.tree.map(lambda old, x: rule(count, old, x), state.mean, new)
        return updates, AverageState(count, mean, state.start, jnp.zeros(()) if pull is None else pull(count))

    return optax.GradientTransformation(init, update)


def _found(opt_state: Any) -> Any:
    """The part of an optimizer's state that holds an average: the last one, or None."""
    kinds = (AverageState, optax.contrib.ScheduleFreeState)
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kinds))
    own = [node for node in nodes if isinstance(node, kinds)]
    return own[-1] if own else None


def averages(opt_state: Any) -> bool:
    """Whether an optimizer's state holds an average of the parameters."""
    return _found(opt_state) is not None


def averaged(opt_state: Any, params: Any) -> Any:
    """The average of the parameters that an optimizer's state holds, or None.

    That of `optim.average`, else that of a schedule-free optimizer: `x = (y - (1 - b1) z) / b1`.
    """
    node = _found(opt_state)
    if node is None:
        return None
    if isinstance(node, AverageState):
        if node.start is None:
            return node.mean
        return jax.tree.map(lambda mean, x, start: mean + node.pull * (x - start), node.mean, params, node.start)
    gone = lambda leaf: isinstance(leaf, optax.MaskedNode)  # frozen parameters
    own = lambda z, y: y if gone(z) else (y - (1.0 - node.b1) * z) / node.b1
    return jax.tree.map(own, node.z, params, is_leaf=gone)
