"""The contract of an optimizer."""

from typing import Any, Protocol

import jax
import optax

from mtjax.registry import Registry

OPTIMIZERS = Registry("optimizer")
"""Every optimizer by name."""


class Optimizer(Protocol):
    """A frozen dataclass; its fields are the settings that only this optimizer has.

    `make_optimizer` clips the gradient first. Parameters and gradients are float32.
    """

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        """The transformation from gradients to updates, with the learning rate (by step) and its sign applied.

        `shared` is the `OptimConfig`; `b1`, `b2`, `eps` and `weight_decay` are for the optimizers that have them.
        """
        ...


def decays(params: Any) -> Any:
    """Mask of the weight decay: true for kernels and embeddings, false for scales and biases."""
    last = lambda path: getattr(path[-1], "key", None)
    return jax.tree_util.tree_map_with_path(lambda path, _: last(path) not in ("scale", "bias"), params)
