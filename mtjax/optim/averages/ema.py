"""EMA: an exponential moving average of the parameters."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
import optax
from annotated_types import Ge, Lt

from mtjax.optim.averages.base import AVERAGES, following


@AVERAGES.register("ema")
@dataclasses.dataclass(frozen=True)
class Ema:
    """Exponential moving average.

    Formula: `mean = d mean + (1 - d) p` after each update, with `d = min(decay, (1 + t) / (10 + t))` at update t with
    `warm_up`, else `decay`. It begins with the parameters before the first update. One float32 array per parameter.

    Want it where the last steps are noisy: a window of `1 / (1 - decay)` steps should be 5 to 20 % of the run, such as
    0.99 for 200 to 2,000 steps.

    Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the warm-up is that of
    TensorFlow's `ExponentialMovingAverage`.
    """

    decay: Annotated[float, Ge(0), Lt(1)] = 0.999  # Share of the mean that stays at each update.
    warm_up: bool = True  # Forget the first steps sooner.

    def __call__(self) -> optax.GradientTransformation:
        grown = lambda t: jnp.minimum(self.decay, (1.0 + t) / (10.0 + t)) if self.warm_up else self.decay
        return following(lambda t, mean, x: grown(t) * mean + (1 - grown(t)) * x)
