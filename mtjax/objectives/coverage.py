"""Coverage: the probability that one of n samples is right, its loss and gradient, from log-probabilities alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives.numerics import below_certain, log1mexp, wide

TINY = -12.0
"""Where `log(n p)` is below this, two terms of the series in `n p` are exact in float32."""


def dco_loss(logprob: ArrayLike, n: ArrayLike) -> Float[Array, "..."]:
    """`-log(1 - (1 - p)^n)` of `logprob = log p`: minus the log-probability that one of n samples is right.

    Elementwise, float32. Never forms p, so that it is exact for log p from -1e5 to 0 and n to 1e6; at n = 1 it is
    `-logprob` to the bit. The gradient is `-dco_weight(logprob, n)`, always finite; n gets none.

    >>> round(float(dco_loss(-8.0, 256)), 4)
    2.4973

    Args:
        logprob: log-probability of the whole answer in nats (a sum over its tokens, never a mean), any shape. What is
            above 0 by rounding counts as 0.
        n: samples taken at test time, > 0; any real number, traced or not, broadcast with `logprob`.

    Source: Chen et al., "Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence Improves
    Mathematical Reasoning", NeurIPS 2025 (arXiv 2502.07154).
    """
    return _loss(*_both(logprob, n))


def dco_weight(logprob: ArrayLike, n: ArrayLike) -> Float[Array, "..."]:
    """`F(n, p) = n (1 - p)^(n - 1) p / (1 - (1 - p)^n)`: the share of the cross-entropy's gradient that is left.

    Elementwise, float32; 1 at n = 1 and where `n p` is small, 0.58 at `n p = 1`, 0 at p = 1. It gets no gradient.

    >>> round(float(dco_weight(-8.0, 256)), 4)
    0.9578

    Args and source: as `dco_loss`; `logprob` may be the logarithm of a success rate, -inf for 0.
    """
    return jax.lax.stop_gradient(_weight(*_both(logprob, n)))


def _both(logprob: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    logprob, n = jnp.broadcast_arrays(wide(logprob), wide(n))
    return logprob, jax.lax.stop_gradient(n)


def _cases(logprob: Array, n: Array) -> tuple[Array, Array]:
    """Whether the series holds, and `log p` with a harmless value where it does."""
    series = logprob + jnp.log(n) < TINY
    return series, jnp.where(series, -1.0, logprob)


@jax.custom_jvp
def _loss(logprob: Array, n: Array) -> Array:
    series, inner = _cases(logprob, n)
    small = -(logprob + jnp.log(n)) + (n - 1) * jnp.exp(logprob) / 2
    loss = jnp.where(series, small, -log1mexp(n * log1mexp(inner)))
    return jnp.where(n == 1, -logprob, jnp.where(logprob >= 0, 0, loss))


def _weight(logprob: Array, n: Array) -> Array:
    series, inner = _cases(logprob, n)
    small = 1 - (n - 1) * jnp.exp(jnp.where(series, logprob, -1.0)) / 2
    log_wrong = log1mexp(inner)
    weight = n * jnp.exp(inner) * jnp.exp((n - 1) * log_wrong) / -jnp.expm1(n * log_wrong)
    return jnp.where(n == 1, 1, jnp.where(logprob >= 0, 0, jnp.where(series, small, weight)))


_loss.defjvps(lambda tangent, _, logprob, n: -_weight(logprob, n) * tangent, None)


def whole_rollouts(step_logprobs: Float[Array, "*B L"], n: ArrayLike) -> Float[Array, "*B"]:
    """`log J` of n independent attempts at all L steps: `J = 1 - (1 - prod_t p_t)^n`."""
    return -dco_loss(jnp.sum(step_logprobs, axis=-1), n)


def even_allocation(step_logprobs: Float[Array, "*B L"], n: ArrayLike) -> Float[Array, "*B"]:
    """`log J` of n tries shared out evenly: `J = prod_t [1 - (1 - p_t)^(n / L)]`. n = L is cross-entropy."""
    return -jnp.sum(dco_loss(step_logprobs, wide(n) / step_logprobs.shape[-1]), axis=-1)


def best_first(step_logprobs: Float[Array, "*B L"], budget: int) -> Float[Array, "*B"]:
    """`log J` of `budget` tries in all, each at the first step still open.

    Formula: `J(b, t) = p_t J(b - 1, t + 1) + (1 - p_t) J(b - 1, t)`, with `J(b, L + 1) = 1` and `J(0, t) = 0` for
    t <= L. Raises InputError for a budget below L, with which J is 0.
    """
    length = step_logprobs.shape[-1]
    if budget < length:
        raise InputError(f"budget={budget}: expected at least {length}, one try for each of the steps")
    success = below_certain(step_logprobs)
    failure = log1mexp(success)
    done = jnp.zeros_like(success[..., :1])
    never = jnp.full_like(success, -1e30)  # as good as -inf, and harmless in a gradient

    def one_more(log_j: Array, _: None) -> tuple[Array, None]:
        onward = jnp.concatenate([log_j[..., 1:], done], axis=-1)
        return jnp.logaddexp(success + onward, failure + log_j), None

    return jax.lax.scan(one_more, never, None, length=budget)[0][..., 0]


def strategy_weights(
    log_success: Callable[[Array], Array], step_logprobs: Float[Array, "*B L"]
) -> Float[Array, "*B L"]:
    """`w_t = (p_t / J) dJ / dp_t`: how much of each step's cross-entropy the loss `-log J` keeps.

    It is the gradient of log J with respect to log p_t, so `-log_success(step_logprobs)` as a loss has these weights
    already. `dco_weight` is the case of one step and n tries.

    >>> weights = strategy_weights(lambda x: even_allocation(x, 12), jnp.log(jnp.array([0.5, 0.1, 0.9])))
    >>> [round(float(weight), 3) for weight in weights]
    [0.267, 0.848, 0.004]

    Args:
        log_success: `[*B, L] -> [*B]`, the log-probability that the strategy finds the solution.
        step_logprobs: log-probability of each step given those before it.

    Source: the generalisation of DCO in Ousherovitch and Tewari, 2026 (search-aligned training for theorem proving).
    """
    return jax.grad(lambda x: jnp.sum(log_success(x)))(step_logprobs)
