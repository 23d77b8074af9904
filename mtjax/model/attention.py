"""Attention: who sees whom, and the one function that every backend's kernel stands behind."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def positions_of(segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Position of each token within its segment, from 0; padding (segment 0) counts like a segment."""
    index = jnp.arange(segments.shape[-1])
    before = jnp.concatenate([jnp.full_like(segments[:, :1], -1), segments[:, :-1]], axis=1)
    start = jax.lax.cummax(jnp.where(segments != before, index, 0), axis=1)
    return (index - start).astype(jnp.int32)


def packed_mask(segments: Int[Array, "B T"], window: Int[Array, ""]) -> Bool[Array, "B 1 T T"]:
    """Token t sees s iff `t - window < s <= t` and both are of one segment. The window counts the token itself.

    Padding sees padding, so no row of the softmax is empty.
    """
    index = jnp.arange(segments.shape[-1])
    distance = index[:, None] - index[None, :]
    near = (distance >= 0) & (distance < window)
    return (near & (segments[:, :, None] == segments[:, None, :]))[:, None]


def cached_mask(positions: Int[Array, "B N"], length: int, window: Int[Array, ""]) -> Bool[Array, "B 1 N M"]:
    """Which of `length` cache slots each query sees: slot s iff `position - window < s <= position`."""
    distance = positions[:, :, None] - jnp.arange(length)
    return ((distance >= 0) & (distance < window))[:, None]


def attend(
    query: Float[Array, "B N H K"],
    key: Float[Array, "B M G K"],
    value: Float[Array, "B M G K"],
    mask: Bool[Array, "B 1 N M"],
) -> Float[Array, "B N H K"]:
    """Grouped-query attention: `softmax(q k / sqrt(K)) v`, softmax in float32; head h reads kv head h // (H / G)."""
    return jax.nn.dot_product_attention(query, key, value, mask=mask)
