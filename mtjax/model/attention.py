"""Attention: who sees whom, and the one function that every backend's kernel stands behind."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def positions_of(segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Position of each token within its segment, from 0; padding (segment 0) counts like a segment."""
    index = jnp.arange(segments.shape[-1])
    before = jnp.concatenate([jnp.full_like(segments[:, :1], -1), segments[:, :-1]], axis=1)
    start = jax.lax.cummax(jnp.where(segments != before, index, 0), axis=1)
    return (index - start).astype(jnp.int32)


def lengths_of(segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """How many tokens the segment of each token has."""
    return jnp.sum(segments[:, :, None] == segments[:, None, :], axis=-1, dtype=jnp.int32)


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
    """Grouped-query attention: `softmax(q k / sqrt(K)) v`, softmax in float32; head h reads kv head h // (H / G).

    Accelerators run `jax.nn.dot_product_attention`. For the CPU it is written out, where a small model's step then
    takes about 0.8 of the time: products have heads in front of time, with the query heads of one kv head in one
    matrix, and the softmax divides after the product, `(e v) / sum(e)`, so that `e` is the one `[N, M]` array that
    the backward pass keeps.
    """
    if jax.default_backend() != "cpu":
        return jax.nn.dot_product_attention(query, key, value, mask=mask)
    rows, length, heads, width = query.shape
    kv_heads, together = key.shape[2], heads // key.shape[2]
    query = query.reshape(rows, length, kv_heads, together, width).transpose(0, 2, 3, 1, 4)
    query, key, value = query.reshape(rows, kv_heads, -1, width), key.swapaxes(1, 2), value.swapaxes(1, 2)
    # Without the preset, bfloat16 would meet float32 in the backward products (jax issue 24047).
    precision = jax.lax.DotAlgorithmPreset.BF16_BF16_F32 if query.dtype == jnp.bfloat16 else None
    scores = jnp.einsum("bgnk,bgmk->bgnm", query, key, precision=precision, preferred_element_type=jnp.float32)
    scores = jnp.where(mask, scores.reshape(rows, heads, length, -1) / math.sqrt(width), jnp.finfo(jnp.float32).min)
    weights = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(value.dtype).reshape(rows, kv_heads, together * length, -1)
    seen = jnp.einsum("bgnm,bgmk->bgnk", weights, value).reshape(rows, heads, length, width)
    return (seen / total).astype(value.dtype).swapaxes(1, 2)
