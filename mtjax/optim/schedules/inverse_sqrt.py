"""Inverse square root: a learning rate that falls for ever, ever more slowly."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
import optax
from annotated_types import Gt

from mtjax.optim.schedules.base import SCHEDULES


@SCHEDULES.register("inverse_sqrt")
@dataclasses.dataclass(frozen=True)
class InverseSqrt:
    """The inverse square root of the step, constant after the last one.

    Formula: `peak sqrt(scale / (scale + step))`. With `scale` equal to the warm-up this is `peak sqrt(warmup / step)`
    of the Transformer, counted from the first step of the run. `optim.end_fraction` is not used.

    Want it when the number of steps is open: a longer run changes no rate before.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (arXiv 1706.03762), section 5.3.
    """

    scale: Annotated[float, Gt(0)] = 1000.0  # Steps after which the rate has fallen to 1 / sqrt(2).

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        return lambda step: peak * jnp.sqrt(self.scale / (self.scale + jnp.minimum(step, steps)))
