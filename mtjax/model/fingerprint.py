"""A fingerprint of the weights of a model."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mtjax.distributed.placement import read_whole
from mtjax.types import Params


@jax.jit
def _mixed_sums(params: Params) -> list[Array]:
    """Two 32-bit sums per leaf, over its bits mixed with their places: the same on every mesh."""

    def of_leaf(x: Array) -> Array:
        bits = jax.lax.bitcast_convert_type(jnp.atleast_1d(x).astype(jnp.float32), jnp.uint32)
        strides = np.cumprod((1, *bits.shape[:0:-1]))[::-1]
        axes = range(bits.ndim)
        place = sum(jax.lax.broadcasted_iota(jnp.uint32, bits.shape, d) * np.uint32(strides[d] % 2**32) for d in axes)
        mixed = (bits ^ (place * np.uint32(0x9E3779B1))) * np.uint32(0x85EBCA77)
        mixed = mixed ^ (mixed >> 15)
        return jnp.stack([jnp.sum(mixed), jnp.sum(mixed * np.uint32(0xC2B2AE3D) ^ (mixed >> 13))])

    return [of_leaf(x) for x in jax.tree.leaves(params)]


def fingerprint_of(params: Params) -> str:
    """A fingerprint of all weights: equal for equal bits, wherever the leaves lie, in float32 or bfloat16."""
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    sums = [part.tolist() for part in read_whole(_mixed_sums(params))]
    return hashlib.sha256(json.dumps([names, shapes, sums]).encode()).hexdigest()[:32]
