"""Attention of packed rows in blocks, for the CPU: no `[T, T]` array, and only blocks of which something is seen.

A block of queries goes over blocks of keys from the first that one of its segments or its window reaches to its own
(Rabe and Staats, "Self-attention Does Not Need O(n^2) Memory", arXiv 2112.05682; Dao et al., "FlashAttention", arXiv
2205.14135). How many that are is known when the batch is: the work grows with the examples, not with the row.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BLOCKS = (64, 32)  # positions in a block: the first that divides the length
SMALLEST = BLOCKS[-1]
SHORTEST = 96  # positions of a row that is worth it
LEAST = -1e30  # in place of a score that is not seen; its exponential is 0 and never NaN


def block_of(length: int, context: int = 1) -> int | None:
    """Positions of a block for rows of `length` over `context` devices; None where no block fits or rows are short."""
    fits = (size for size in BLOCKS if length % (size * context) == 0)
    return next(fits, None) if length >= SHORTEST else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(7, 8, 9))
def blocked_attend(
    query: Float[Array, "B N H K"],
    key: Float[Array, "B M G K"],
    value: Float[Array, "B M G K"],
    own: Int[Array, "B N"],
    segments: Int[Array, "B M"],
    first: Int[Array, ""],
    window: Int[Array, ""],
    divisor: float,
    cap: float | None,
    block: int,
) -> Float[Array, "B N H K"]:
    """`attention.attend` under `attention.packed_mask(segments, window, own, first)`, to rounding.

    Scores are divided by `divisor` and then capped. `block` divides N and M.
    """
    return _forward(query, key, value, own, segments, first, window, divisor, cap, block)[0]


def _forward(
    query: Any, key: Any, value: Any, own: Any, segments: Any, first: Any, window: Any, divisor: float, cap: Any,
    block: int,
) -> Any:  # fmt: skip
    rows, length, heads, width = query.shape
    queries, keys, values = (
        _by_head(query, key.shape[2], block),
        _by_head(key, None, block),
        _by_head(value, None, block),
    )
    scores = functools.partial(_scores, segments=segments, window=window, divisor=divisor, cap=cap, block=block)
    begins = _begins(own, segments)

    def of_block(number: Any) -> tuple[Array, Array]:
        ours, seen_by = queries[number], _block(own, number, block)
        start = first + number * block

        def one(at: Any, so_far: Any) -> Any:
            most, total, out = so_far
            score = scores(ours, keys[at], seen_by, start, at)[0]
            higher = jnp.maximum(most, jnp.max(score, -1, keepdims=True))
            weight, shrink = jnp.exp(score - higher), jnp.exp(most - higher)
            out = out * shrink + _product("bgnm,bgmk->bgnk", weight.astype(value.dtype), values[at])
            return higher, total * shrink + jnp.sum(weight, -1, keepdims=True), out

        shape = ours.shape[:3]
        begin = (jnp.full((*shape, 1), LEAST), jnp.zeros((*shape, 1)), jnp.zeros((*shape, width)))
        lowest, end = _reach(_block(begins, number, block), start, window, block)
        most, total, out = jax.lax.fori_loop(lowest, end, one, begin)
        return (out / total).astype(value.dtype), most + jnp.log(total)

    out, normaliser = jax.lax.map(of_block, jnp.arange(length // block))
    seen = _by_time(out, heads)
    return seen, (query, key, value, own, segments, first, window, out, normaliser)


def _backward(divisor: float, cap: Any, block: int, kept: Any, gradient: Any) -> Any:
    query, key, value, own, segments, first, window, out, normaliser = kept
    queries, keys, values = (
        _by_head(query, key.shape[2], block),
        _by_head(key, None, block),
        _by_head(value, None, block),
    )
    gradients = _by_head(gradient.astype(value.dtype), key.shape[2], block)
    scores = functools.partial(_scores, segments=segments, window=window, divisor=divisor, cap=cap, block=block)
    begins = _begins(own, segments)

    def of_block(carry: Any, number: Any) -> Any:
        ours, seen_by, pulled = queries[number], _block(own, number, block), gradients[number]
        start = first + number * block
        along = jnp.sum(pulled.astype(jnp.float32) * out[number].astype(jnp.float32), -1, keepdims=True)

        def one(at: Any, so_far: Any) -> Any:
            of_query, of_keys, of_values = so_far
            score, slope = scores(ours, keys[at], seen_by, start, at)
            weight = jnp.exp(score - normaliser[number])
            of_score = weight * (_product("bgnk,bgmk->bgnm", pulled, values[at]) - along) * slope / divisor
            weight, of_score = weight.astype(value.dtype), of_score.astype(value.dtype)
            add = lambda total, more: total.at[at].add(more)
            return (
                of_query + _product("bgnm,bgmk->bgnk", of_score, keys[at]),
                add(of_keys, _product("bgnm,bgnk->bgmk", of_score, ours)),
                add(of_values, _product("bgnm,bgnk->bgmk", weight, pulled)),
            )

        lowest, end = _reach(_block(begins, number, block), start, window, block)
        of_query, *carry = jax.lax.fori_loop(lowest, end, one, (jnp.zeros(ours.shape, jnp.float32), *carry))
        return tuple(carry), of_query

    zeros = jnp.zeros(keys.shape, jnp.float32)
    (of_keys, of_values), of_query = jax.lax.scan(of_block, (zeros, zeros), jnp.arange(len(queries)))
    back = lambda x, like: _by_time(x, like.shape[2]).astype(like.dtype)
    return back(of_query, query), back(of_keys, key), back(of_values, value), None, None, None, None


blocked_attend.defvjp(_forward, _backward)


def _scores(
    query: Any,
    key: Any,
    own: Any,
    start: Any,
    at: Any,
    *,
    segments: Any,
    window: Any,
    divisor: float,
    cap: Any,
    block: int,
) -> tuple[Array, Any]:
    """Scores `[B, G, N, M]` of one block of queries and one of keys, and the slope of the cap."""
    score = _product("bgnk,bgmk->bgnm", query, key) / divisor
    slope: Any = 1.0
    if cap is not None:
        score = cap * jnp.tanh(score / cap)
        slope = 1 - jnp.square(score / cap)
    distance = start + jnp.arange(block)[:, None] - (at * block + jnp.arange(block))[None, :]
    seen = (distance >= 0) & (distance < window) & (own[:, :, None] == _block(segments, at, block)[:, None, :])
    seen = jnp.tile(seen, (1, score.shape[2] // block, 1))[:, None]  # once for each query head of a key head
    return jnp.where(seen, score, LEAST), slope


def _begins(own: Any, segments: Any) -> Array:
    """`[B, N]`: where the segment of each query begins in the row."""
    length = segments.shape[1]
    held = jnp.minimum(segments, length)  # more segments than places would only reach further back
    rows = jnp.arange(len(segments))[:, None]
    first = jnp.full((len(segments), length + 1), length).at[rows, held].min(jnp.arange(length))
    return first[rows, jnp.minimum(own, length)]


def _reach(begins: Any, start: Any, window: Any, block: int) -> tuple[Array, Array]:
    """The blocks of keys that a block of queries sees: from where its segments or its window begin to its own."""
    lowest = jnp.maximum(jnp.min(begins), start - window + 1)
    return jnp.maximum(lowest, 0) // block, (start + block - 1) // block + 1


def _product(form: str, left: Any, right: Any) -> Array:
    """A product with a float32 result; for bfloat16 as in `attention.attend`."""
    precision = jax.lax.DotAlgorithmPreset.BF16_BF16_F32 if left.dtype == jnp.bfloat16 else None
    return jnp.einsum(form, left, right, precision=precision, preferred_element_type=jnp.float32)


def _block(x: Any, number: Any, block: int) -> Any:
    return jax.lax.dynamic_slice_in_dim(x, number * block, block, axis=1)


def _by_head(x: Any, kv_heads: int | None, block: int) -> Any:
    """`[B, N, H, K] -> [N / C, B, G, (H / G) C, K]`, for queries; keys have H = G."""
    rows, length, heads, width = x.shape
    groups = heads if kv_heads is None else kv_heads
    x = x.reshape(rows, length // block, block, groups, heads // groups, width)
    return x.transpose(1, 0, 3, 4, 2, 5).reshape(length // block, rows, groups, -1, width)


def _by_time(x: Any, heads: int) -> Any:
    """`[N / C, B, G, (H / G) C, K] -> [B, N, H, K]`, the way back of `_by_head`."""
    blocks, rows, groups, size, width = x.shape
    x = x.reshape(blocks, rows, groups, heads // groups, -1, width)
    return x.transpose(1, 0, 4, 2, 3, 5).reshape(rows, -1, heads, width)
