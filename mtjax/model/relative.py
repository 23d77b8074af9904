"""Relative position biases of T5: a learnt number for each head and bucket of distances, added to the scores."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def bucket_of(distance: Int[Array, "..."], buckets: int, max_distance: int, both_sides: bool) -> Int[Array, "..."]:
    """Bucket of each distance `key - query`, 0 to `buckets - 1`.

    With `both_sides` (the encoder) the second half of the buckets is for keys on the right; otherwise (the decoder) all
    are for the past, and a key on the right has bucket 0. Of n buckets a side, the first n / 2 are one distance each,
    and the others divide the logarithm of the distances up to `max_distance`; what is further is in the last one.

    >>> bucket_of(jnp.array([0, -7, -11, -200, 8]), 32, 128, both_sides=True).tolist()
    [0, 7, 8, 15, 24]
    """
    side = buckets // 2 if both_sides else buckets
    away = jnp.abs(distance) if both_sides else jnp.maximum(-distance, 0)
    exact = side // 2
    # A table made on the host, in float32 as in transformers: on some devices logarithms differ at the edges.
    every = np.arange(max_distance + 1)
    share = np.log(np.maximum(every, 1).astype(np.float32) / np.float32(exact))
    share = share / np.float32(math.log(max_distance / exact)) * np.float32(side - exact)
    wide = exact + share.astype(np.int32)
    table = np.where(every < exact, every, np.minimum(wide, side - 1)).astype(np.int32)
    found = jnp.asarray(table)[jnp.minimum(away, max_distance)]
    return found + jnp.where(distance > 0, side, 0) if both_sides else found


def position_bias(table: Float[Array, "N H"], buckets: Int[Array, "B Q M"]) -> Float[Array, "B H Q M"]:
    """The bias of each head, query and key, in float32."""
    return jnp.moveaxis(table.astype(jnp.float32)[buckets], -1, 1)
