"""What every objective shares: the registry, the reducer over segments, and the weighted token loss."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mtjax.errors import InputError
from mtjax.registry import Registry
from mtjax.types import Batch, Mean, TokenScores

OBJECTIVES = Registry("objective", requires=("task", "needs_reference"))
"""Every objective by name. `task` is the name of the task that renders its data, or "any" (`mtjax.types.Objective`)."""

Number = int | float
"""A real setting. The checks at run time take the word `float` literally and would refuse `beta=5`."""


def require(
    settings: Any,
    name: str,
    *,
    above: Number = -float("inf"),
    at_least: Number = -float("inf"),
    below: Number = float("inf"),
    why: str = "",
) -> None:
    """Raise InputError unless `settings.name` is a finite number within the bounds; `why` may say the way out."""
    value = getattr(settings, name)
    if not (value > above and value >= at_least and value < below):  # false of NaN
        bounds = ((">", above), (">=", at_least), ("<", below))
        wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if abs(bound) < float("inf"))
        raise InputError(f"objective.{name}={value}: expected a finite number {wanted}".strip() + (why and f"; {why}"))


def segment_sum(x: Float[Array, "*B T"], segments: Int[Array, "*B T"], count: int) -> Float[Array, "*B S"]:
    """Sum per packed example: column s - 1 holds `sum_t x_t [segments_t = s]`, s = 1 .. `count`; padding is left out.

    The one reducer from tokens to examples; `count` is static (`data.max_segments`).
    """
    belongs = segments[..., None] == jnp.arange(1, count + 1)
    return jnp.sum(jnp.where(belongs, x[..., None], 0), axis=-2)


def spread(
    values: Float[Array, "*B S"] | Int[Array, "*B S"], segments: Int[Array, "*B T"]
) -> Float[Array, "*B T"] | Int[Array, "*B T"]:
    """Give every token its segment's value: `values[..., segments - 1]`; 0 at padding.

    The way back of `segment_sum`.
    """
    token_values = jnp.take_along_axis(values, jnp.maximum(segments - 1, 0), axis=-1)
    return jnp.where(segments > 0, token_values, 0)


def is_target(segments: Int[Array, "*B T"]) -> Float[Array, "*B T"]:
    """1 where a token is predicted from another of its segment; 0 at the first token of a segment and at padding."""
    before = jnp.concatenate([jnp.zeros_like(segments[..., :1]), segments[..., :-1]], axis=-1)
    return jnp.asarray((segments > 0) & (segments == before), jnp.float32)


def weighted_nll(scores: TokenScores, batch: Batch, weights: Float[Array, "*B T"]) -> tuple[Mean, dict[str, Mean]]:
    """The weighted token cross-entropy `-sum_t w_t logprob_t` over `sum_t w_t`, in nats, and what to log beside it.

    A weight at the first token of a segment is ignored, in sum and count alike: nothing predicts that token.

    Metrics: `entropy` and `top1` (share of target tokens that are the most likely one), both weighted as the loss.
    """
    weights = weights * is_target(batch.segments)
    count = jnp.sum(weights)
    # A zero weight must drop a token even if its log-probability is infinite: 0 * inf is NaN.
    total = -jnp.sum(jnp.where(weights != 0, weights * scores.logprob, 0))
    right = jax.lax.stop_gradient(jnp.asarray(scores.logprob >= scores.top_logprob, jnp.float32))
    metrics = {
        "entropy": Mean(jnp.sum(weights * scores.entropy), count),
        "top1": Mean(jnp.sum(weights * right), count),
    }
    return Mean(total, count), metrics
