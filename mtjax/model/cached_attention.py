"""Attention over a key/value cache: what a decoder sees of its earlier tokens, one call after the other.

Keys are kept as `[L, P, B, G, K, C]`, values as `[L, P, B, G, C, K]`: P pages of C positions, so that both products of
a query run along contiguous memory. On the CPU a page has 64 positions, and a loop goes over the pages up to the last
position that a row of the call has: the work grows with what is used and not with the length of the cache. Where there
are several rows and the part of each in a page is large, each has a loop of its own, up to its own last position. All
pages have one shape, so what a row gets does not depend, to the bit, on the length of the cache or on other rows.
Elsewhere, and with LM-Infinite, one page holds all.

On the CPU every layer has arrays of its own, in a tuple, as its parameters are (`apart`): XLA copies what it slices
from an array of all layers before it multiplies, which took as long as the products of one row.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mtjax.distributed.sharding import platform_of, ways
from mtjax.model.attention import attend_by_head
from mtjax.model.lm_infinite import Far, far_mask
from mtjax.types import Params

PAGE = 64  # positions of a page on the CPU
LEAST = -1e30  # in place of a score that is not seen
LARGE_PAGE = 8192  # numbers of a row's keys in a page from which each row has its own loop; below, one for all
FEW = 8  # queries of a key head, from 2, up to which a loop for all rows writes products as sums, which costs less


def layers_apart() -> bool:
    """Whether a cache made now holds each layer by itself: on the CPU."""
    return platform_of(jax.sharding.get_abstract_mesh()) == "cpu"


def apart(params: Params) -> Params:
    """The parameters of a decoder with `layers` as a tuple of each layer's, where a cache is kept so; else as they are.

    On one device they are views, without a copy. What has no `layers`, such as an adapter beside its base, is left.
    """
    layers = params.get("layers")
    if layers is None or isinstance(layers, tuple) or not layers_apart():
        return params
    leaves, tree = jax.tree.flatten(layers)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return {**params, "layers": _split(layers)}
    if any(len(leaf.devices()) > 1 for leaf in leaves):
        return {**params, "layers": jax.jit(_split)(layers)}
    # Programs would be compiled anew for parameters that are bound to a device and were not.
    where = next(iter(leaves[0].devices())) if leaves[0].committed else None
    whole = [np.asarray(leaf) for leaf in leaves]
    own = lambda layer: [jax.device_put(leaf[layer], where, may_alias=True) for leaf in whole]
    return {**params, "layers": tuple(jax.tree.unflatten(tree, own(layer)) for layer in range(len(whole[0])))}


def _split(layers: Any) -> tuple[Any, ...]:
    take = lambda layer: jax.tree.map(lambda leaf: leaf[layer], layers)
    return tuple(take(layer) for layer in range(len(jax.tree.leaves(layers)[0])))


def pages_for(config: Any, length: int) -> tuple[int, int]:
    """How many pages a cache of `length` positions has, and the positions of one."""
    paged = config.lm_infinite is None and platform_of(jax.sharding.get_abstract_mesh()) == "cpu"
    return (-(-length // PAGE), PAGE) if paged else (1, length)


def written(cache: Any, name: str, layer: Any, made: Any, positions: Any) -> Any:
    """The entry `name` of a cache with what a layer made, `[B, N, G, K]`, at its positions; later ones are dropped."""
    held, rows = cache[name], jnp.arange(made.shape[0])[:, None]
    in_layers = isinstance(held, tuple)
    array = held[layer] if in_layers else held
    place: tuple[Any, ...] = (rows, slice(None), positions)
    if name != "first":
        size = (cache["value"][layer] if in_layers else cache["value"]).shape[-2]
        page, slot = positions // size, positions % size
        place = (page, rows, slice(None), slice(None), slot) if name == "key" else (page, rows, slice(None), slot)
    place = place if in_layers else (layer, *place)
    own = array.at[place].set(made.astype(array.dtype), mode="drop")
    return (*held[:layer], own, *held[layer + 1 :]) if in_layers else own


def cached_mask(positions: Int[Array, "B N"], length: int, window: Int[Array, ""]) -> Bool[Array, "B 1 N M"]:
    """Which of `length` cache slots each query sees: slot s iff `position - window < s <= position`."""
    distance = positions[:, :, None] - jnp.arange(length)
    return ((distance >= 0) & (distance < window))[:, None]


def cached_attention(
    config: Any,
    query: Float[Array, "B N H K"],
    cache: dict[str, Any],
    layer: Any,
    positions: Int[Array, "B N"],
    window: Int[Array, ""],
    far: Far | None,
) -> Float[Array, "B N H K"]:
    """Attention of N new tokens over the cache of a layer, in which the slot is the position."""
    divisor = math.sqrt(config.query_scalar or query.shape[-1])
    own = {name: held[layer] for name, held in cache.items()}
    if far is None and own["value"].shape[3] == PAGE and layers_apart():
        return attend_by_page(query, own["key"], own["value"], positions, window, divisor, config.score_cap)
    key, value = own["key"][0].swapaxes(2, 3).astype(query.dtype), own["value"][0].astype(query.dtype)
    length = value.shape[2]
    afar = None
    if far is not None:
        first = own["first"].astype(query.dtype)
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
    keys: Float[Array, "P B G K C"],
    values: Float[Array, "P B G C K"],
    positions: Int[Array, "B N"],
    window: Int[Array, ""],
    divisor: float,
    cap: float | None,
    row_by_row: bool | None = None,
) -> Float[Array, "B N H K"]:
    """`cached_attention` page by page: the running maximum, sum of weights and weighted values of each query.

    A page of which a query sees nothing changes nothing of it, to the bit. What is computed for positions beyond the
    cache has no meaning.

    Args:
        row_by_row: a loop over pages for each row, up to its own last one, in place of one loop for all rows, up to the
            furthest. None: where there are several rows of at least `LARGE_PAGE`, and no mesh splits them.
    """
    rows, count, heads, width = query.shape
    pages, _, groups, size, _ = values.shape
    ours = query.reshape(rows, count, groups, heads // groups, width).transpose(0, 2, 1, 3, 4)
    ours = ours.reshape(rows, groups, -1, width)  # [B, G, R, K] with R = N H / G
    at = jnp.repeat(positions, heads // groups, axis=1)[:, None, :, None]  # [B, 1, R, 1]
    if row_by_row is None:
        row_by_row = rows > 1 and groups * width * size >= LARGE_PAGE
        row_by_row &= ways(jax.sharding.get_abstract_mesh(), "batch") == 1
    few = not row_by_row and 1 < ours.shape[2] <= FEW
    precision = jax.lax.DotAlgorithmPreset.BF16_BF16_F32 if query.dtype == jnp.bfloat16 else None

    def product(one: Any, other: Any) -> Array:
        """`[B, G, R, X] x [B, G, X, Y]` in float32."""
        if few:
            return jnp.sum(one[..., None].astype(jnp.float32) * other[:, :, None].astype(jnp.float32), axis=3)
        return jnp.einsum("bgrx,bgxy->bgry", one, other, precision=precision, preferred_element_type=jnp.float32)

    def over_pages(ours: Any, at: Any, begin: Any, end: Any, page: Callable[..., Any]) -> tuple[Array, Array]:
        """Sum of weights and weighted values of queries, from the pages `begin` to `end` that `page` takes."""

        def body(number: Any, so_far: Any) -> Any:
            most, total, out = so_far
            scores = product(ours, page(keys, number).astype(query.dtype)) / divisor
            if cap is not None:
                scores = cap * jnp.tanh(scores / cap)
            distance = at - (number * size + jnp.arange(size))
            scores = jnp.where((distance >= 0) & (distance < window), scores, LEAST)
            higher = jnp.maximum(most, jnp.max(scores, axis=-1, keepdims=True))
            weights, shrink = jnp.exp(scores - higher), jnp.exp(most - higher)
            total = total * shrink + jnp.sum(weights, axis=-1, keepdims=True)
            value = page(values, number).astype(query.dtype)
            return higher, total, out * shrink + product(weights.astype(query.dtype), value)

        shape = ours.shape[:3]
        start = (jnp.full((*shape, 1), LEAST), jnp.zeros((*shape, 1)), jnp.zeros((*shape, width)))
        return jax.lax.fori_loop(jnp.minimum(begin, pages - 1), end, body, start)[1:]

    inside = positions < pages * size
    axis = 1 if row_by_row else None
    begin = jnp.maximum(jnp.min(jnp.where(inside, positions, pages * size), axis) - window + 1, 0) // size
    end = jnp.max(jnp.where(inside, positions, 0), axis) // size + 1
    if row_by_row:

        def one(row: Any) -> tuple[Array, Array]:
            page = lambda array, number: jax.lax.dynamic_slice(
                array, (number, row, 0, 0, 0), (1, 1, *array.shape[2:])
            )[0]  # fmt: skip
            return over_pages(ours[row][None], at[row][None], begin[row], end[row], page)

        total, out = jax.tree.map(lambda x: x[:, 0], jax.lax.map(one, jnp.arange(rows)))
    else:
        total, out = over_pages(ours, at, begin, end, lambda array, number: array[number])
    seen = (out / jnp.maximum(total, jnp.finfo(jnp.float32).tiny)).astype(query.dtype)
    seen = seen.reshape(rows, groups, count, heads // groups, width).transpose(0, 2, 1, 3, 4)
    return seen.reshape(rows, count, heads, width)
