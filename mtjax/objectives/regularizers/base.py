"""The contract of a regularizer, and the mean over target tokens that most of them are."""

from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.registry import Registry
from mtjax.types import Batch, Mean, Policy

REGULARIZERS = Registry("regularizer", requires=("weight",))
"""Every regularizer by name."""


class Regularizer(Protocol):
    """A frozen dataclass whose fields are its settings. It needs no task and no reference."""

    weight: base.Number
    """Factor on the mean in the loss, at least 0."""

    def __call__(self, policy: Policy, batch: Batch) -> Mean:
        """The loss of the batch without the weight. Its count must not depend on the policy."""
        ...


def token_mean(values: Float[Array, "*B T"], batch: Batch) -> Mean:
    """Mean over the target tokens: those that are predicted and have a weight other than 0. Each counts once."""
    target = (base.is_target(jnp.asarray(batch.segments)) > 0) & (jnp.asarray(batch.weights) != 0)
    return Mean(jnp.sum(jnp.where(target, values, 0)), jnp.sum(target, dtype=jnp.float32))
