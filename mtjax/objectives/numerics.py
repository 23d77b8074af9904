"""Arithmetic with log-probabilities that stays finite, in value and in gradient."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

NEAREST = -(2.0**-24)  # the log-probability closest to 0 that float32 can tell from it: `1 - exp(x)` is 6e-8 there


def wide(x: ArrayLike) -> Float[Array, "..."]:
    """The numbers in float32, or in float64 where they are float64 already."""
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))


def log1mexp(x: ArrayLike) -> Float[Array, "..."]:
    """`log(1 - exp(x))` for `x <= 0`: of a log-probability, that of the opposite; -inf at 0.

    Above -log 2 it is `log(-expm1(x))`, below `log1p(-exp(x))`: each loses digits where the other does not.

    Source: Maechler, "Accurately computing log(1 - exp(-|a|))", 2012.
    """
    x = wide(x)
    near = x > -math.log(2)
    above = jnp.log(-jnp.expm1(x))
    # Both branches run, and a NaN in the slope of the one not taken would spoil the sum: it gets a harmless input.
    below = jnp.log1p(-jnp.exp(jnp.where(near, -1.0, x)))
    return jnp.where(near, above, below)


def below_certain(logprob: ArrayLike) -> Float[Array, "..."]:
    """The log-probability, at most `NEAREST`, with its gradient kept, so that learning goes on where p is 1."""
    logprob = wide(logprob)
    held = logprob + jax.lax.stop_gradient(NEAREST - logprob)
    return jnp.where(logprob > NEAREST, held, logprob)


def log_odds(logprob: ArrayLike) -> Float[Array, "..."]:
    """`log(p / (1 - p))` of `log p`; at most 16.6, its value at `NEAREST`."""
    logprob = below_certain(logprob)
    return logprob - log1mexp(logprob)
