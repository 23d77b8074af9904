"""BEMA: an exponential moving average without its lag."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Le

from mtjax.optim.averages.base import AVERAGES, following


@AVERAGES.register("bema")
@dataclasses.dataclass(frozen=True)
class Bema:
    """Bias-corrected exponential moving average.

    Formula: at update t, a multiple of `every`, `mean = (1 - b) mean + b p` with `b = (lag + multiplier t)^-ema_power`;
    the average is `mean + (lag + multiplier t)^-bias_power (p - p0)`, with p0 the parameters before the first update
    and p those of now. Two float32 arrays per parameter. `lag` must be at least 1.

    Want it for fine-tuning: its mean follows at once, where an EMA of the same noise lags behind.

    Source: Block and Zhang, "EMA Without the Lag: Bias-Corrected Iterate Averaging Schemes", 2025 (arXiv 2508.00180).
    """

    ema_power: Annotated[float, Ge(0), Le(1)] = 0.5  # How soon the weight of the newest parameters falls.
    bias_power: Annotated[float, Ge(0), Le(1)] = 0.2  # How soon the correction falls.
    lag: Annotated[float, Ge(1)] = 10.0  # Added to the number of updates.
    multiplier: Annotated[float, Gt(0)] = 1.0  # Of the number of updates.
    every: Annotated[int, Ge(1)] = 400  # Updates between two updates of the mean; 1 for runs of some hundred steps.

    def __call__(self) -> optax.GradientTransformation:
        size = lambda t: self.lag + self.multiplier * t
        share = lambda t: jnp.where(t % self.every == 0, size(t) ** -self.ema_power, 0.0)
        return following(lambda t, mean, x: mean + share(t) * (x - mean), lambda t: size(t) ** -self.bias_power)
