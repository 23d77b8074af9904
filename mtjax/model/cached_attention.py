"""Attention over a key/value cache: what a decoder sees of its earlier tokens, one call after the other.

Keys are kept as `[L, P, B, G, K, C]`, values as `[L, P, B, G, C, K]`: P pages of C positions, so that both products of
a query run along contiguous memory. On the CPU a page has 64 positions, and a loop goes over the pages up to the last
position that a row of the call has: the work grows with what is used and not with the length of the cache. All pages
have one shape, so what a row gets does not depend, to the bit, on the length of the cache or on other rows. Elsewhere,
and with LM-Infinite, one page holds all.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mtjax.distributed.sharding import platform_of
from mtjax.model.attention import attend_by_head
from mtjax.model.lm_infinite import Far, far_mask

PAGE = 64  # positions of a page on the CPU
LEAST = -1e30  # in place of a score that is not seen
FEW = 8  # queries that share a key head, from 2, up to which products are written as sums: a matrix product costs more


def pages_for(config: Any, length: int) -> tuple[int, int]:
    """How many pages a cache of `length` positions has, and the positions of one."""
    paged = config.lm_infinite is None and platform_of(jax.sharding.get_abstract_mesh()) == "cpu"
    return (-(-length // PAGE), PAGE) if paged else (1, length)


def written(cache: Any, name: str, layer: Any, made: Any, positions: Any) -> Array:
    """The array `name` of a cache with what a layer made, `[B, N, G, K]`, at its positions; later ones are dropped."""
    array, rows = cache[name], jnp.arange(made.shape[0])[:, None]
    if name == "first":
        place: tuple[Any, ...] = (layer, rows, slice(None), positions)
    else:
        size = cache["value"].shape[4]
        page, slot = positions // size, positions % size
        place = (layer, page, rows, slice(None), slice(None), slot) if name == "key" else (
            layer, page, rows, slice(None), slot
        )  # fmt: skip
    at: Array = array.at[place].set(made.astype(array.dtype), mode="drop")
    return at


def cached_mask(positions: Int[Array, "B N"], length: int, window: Int[Array, ""]) -> Bool[Array, "B 1 N M"]:
    """Which of `length` cache slots each query sees: slot s iff `position - window < s <= position`."""
    distance = positions[:, :, None] - jnp.arange(length)
    return ((distance >= 0) & (distance < window))[:, None]


def cached_attention(
    config: Any,
    query: Float[Array, "B N H K"],
    cache: dict[str, Any],
    layer: Int[Array, ""],
    positions: Int[Array, "B N"],
    window: Int[Array, ""],
    far: Far | None,
) -> Float[Array, "B N H K"]:
    """Attention of N new tokens over the cache of a layer, in which the slot is the position."""
    divisor = math.sqrt(config.query_scalar or query.shape[-1])
    if far is None and cache["value"].shape[4] == PAGE and platform_of(jax.sharding.get_abstract_mesh()) == "cpu":
        return attend_by_page(query, cache, layer, positions, window, divisor, config.score_cap)
    key, value = cache["key"][layer, 0].swapaxes(2, 3).astype(query.dtype), cache["value"][layer, 0].astype(query.dtype)
    length = value.shape[2]
    afar = None
    if far is not None:
        first = cache["first"][layer].astype(query.dtype)
        slots = jnp.arange(min(config.lm_infinite.starting, length))
        distance = positions[:, :, None] - slots
        places = jnp.broadcast_to(slots, (len(positions), len(slots)))
        mask = far_mask(config.lm_infinite.starting, far, places, distance)
        afar = (far.query, first[:, :, : len(slots)], mask)
    return attend_by_head(
        query, key, value, cached_mask(positions, length, window), divisor, config.score_cap, far=afar
    )


def attend_by_page(
    query: Float[Array, "B N H K"],
    cache: dict[str, Any],
    layer: Int[Array, ""],
    positions: Int[Array, "B N"],
    window: Int[Array, ""],
    divisor: float,
    cap: float | None,
) -> Float[Array, "B N H K"]:
    """`cached_attention` page by page: the running maximum, sum of weights and weighted values of each query.

    A page of which a query sees nothing changes nothing of it, to the bit. Positions beyond the cache see all of it.
    """
    rows, count, heads, width = query.shape
    pages, _, groups, size, _ = cache["value"].shape[1:]
    ours = query.reshape(rows, count, groups, heads // groups, width).transpose(0, 2, 1, 3, 4)
    ours = ours.reshape(rows, groups, -1, width)  # [B, G, R, K] with R = N H / G
    at = jnp.repeat(positions, heads // groups, axis=1)[:, None, :, None]  # [B, 1, R, 1]
    few = 1 < ours.shape[2] <= FEW
    precision = jax.lax.DotAlgorithmPreset.BF16_BF16_F32 if query.dtype == jnp.bfloat16 else None

    def product(one: Any, other: Any) -> Array:
        """`[B, G, R, X] x [B, G, X, Y]` in float32."""
        if few:
            return jnp.sum(one[..., None].astype(jnp.float32) * other[:, :, None].astype(jnp.float32), axis=3)
        return jnp.einsum("bgrx,bgxy->bgry", one, other, precision=precision, preferred_element_type=jnp.float32)

    def body(number: Any, so_far: Any) -> Any:
        most, total, out = so_far
        page = lambda name: cache[name][layer, number].astype(query.dtype)
        scores = product(ours, page("key")) / divisor
        if cap is not None:
            scores = cap * jnp.tanh(scores / cap)
        distance = at - (number * size + jnp.arange(size))
        scores = jnp.where((distance >= 0) & (distance < window), scores, LEAST)
        higher = jnp.maximum(most, jnp.max(scores, axis=-1, keepdims=True))
        weights, shrink = jnp.exp(scores - higher), jnp.exp(most - higher)
        total = total * shrink + jnp.sum(weights, axis=-1, keepdims=True)
        return higher, total, out * shrink + product(weights.astype(query.dtype), page("value"))

    inside = positions < pages * size
    begin = jnp.maximum(jnp.min(jnp.where(inside, positions, pages * size)) - window + 1, 0) // size
    end = jnp.max(jnp.where(inside, positions, 0)) // size + 1
    shape = ours.shape[:3]
    start = (jnp.full((*shape, 1), LEAST), jnp.zeros((*shape, 1)), jnp.zeros((*shape, width)))
    _, total, out = jax.lax.fori_loop(jnp.minimum(begin, pages - 1), end, body, start)
    seen = (out / jnp.maximum(total, jnp.finfo(jnp.float32).tiny)).astype(query.dtype)
    seen = seen.reshape(rows, groups, count, heads // groups, width).transpose(0, 2, 1, 3, 4)
    return seen.reshape(rows, count, heads, width)
