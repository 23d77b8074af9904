"""Checksums of arrays, computed on their own devices: equal for equal bits on every mesh. Nothing is gathered."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

PIECE = 1 << 15  # elements at a time on the host, so that temporaries stay in the cache


def _mixed_sum(x: Array) -> Array:
    """Two 32-bit sums over the bits of an array, mixed with their places by the finalizer of MurmurHash3.

    The mixing maps the bits of one element one to one, so a change of one element always changes the first sum; other
    changes are missed with a probability of about 2^-64.
    """
    x = jnp.atleast_1d(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    else:
        bits = x.astype(jnp.uint32)
    strides = np.cumprod((1, *bits.shape[:0:-1]))[::-1]
    axes = range(bits.ndim)
    place = sum(jax.lax.broadcasted_iota(jnp.uint32, bits.shape, d) * np.uint32(strides[d] % 2**32) for d in axes)
    mixed = bits ^ (place * np.uint32(0x9E3779B1))
    mixed = (mixed ^ (mixed >> 16)) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 13)) * np.uint32(0xC2B2AE35)
    mixed = mixed ^ (mixed >> 16)
    return jnp.stack([jnp.sum(mixed), jnp.sum(mixed * np.uint32(0x9E3779B1) ^ (mixed >> 15))])


def _mixed_sum_on_host(x: np.ndarray) -> tuple[int, int]:
    """What `_mixed_sum` gives, in NumPy and piece by piece: nothing is compiled for each shape of a small run.

    Sums of 32 bits wrap around.
    """
    flat = x.reshape(-1)
    first = second = 0
    steps = np.arange(min(PIECE, len(flat)), dtype=np.uint32) * np.uint32(0x9E3779B1)
    mixed, shifted = np.empty_like(steps), np.empty_like(steps)
    for start in range(0, len(flat), PIECE):
        piece = flat[start : start + PIECE]
        bits = piece.astype(np.float32) if jnp.issubdtype(flat.dtype, jnp.floating) else piece.astype(np.uint32)
        m, t = mixed[: len(piece)], shifted[: len(piece)]
        np.add(steps[: len(piece)], np.uint32(start * 0x9E3779B1 % 2**32), out=m)
        np.bitwise_xor(m, bits.view(np.uint32), out=m)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            m ^= np.right_shift(m, shift, out=t)
            m *= np.uint32(factor)
        m ^= np.right_shift(m, 16, out=t)
        first += int(np.add.reduce(m, dtype=np.uint32))
        np.right_shift(m, 15, out=t)
        m *= np.uint32(0x9E3779B1)
        second += int(np.add.reduce(np.bitwise_xor(m, t, out=m), dtype=np.uint32))
    return first % 2**32, second % 2**32


def mixed_sums(tree: Any) -> list[list[int]]:
    """Two 32-bit sums per leaf, in the order of the leaves."""
    leaves = jax.tree.leaves(tree)
    if all(leaf.is_fully_addressable and next(iter(leaf.devices())).platform == "cpu" for leaf in leaves):
        return [list(_mixed_sum_on_host(np.asarray(leaf))) for leaf in leaves]
    meshes = {leaf.sharding.mesh for leaf in leaves if isinstance(leaf.sharding, NamedSharding)}
    return jax.device_get(_of_all(next(iter(meshes), None))(leaves)).tolist()


@functools.cache
def _of_all(mesh: Mesh | None) -> Any:
    """`_mixed_sum` of all leaves as one program: several with collectives at a time can wait for one another."""
    sums = lambda leaves: jnp.stack([_mixed_sum(leaf) for leaf in leaves])
    return jax.jit(sums, out_shardings=None if mesh is None else NamedSharding(mesh, PartitionSpec()))


def leaf_names(tree: Any) -> list[str]:
    """The path of each leaf, such as `params/embedding`, in their order."""
    name = lambda part: str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))))
    return ["/".join(map(name, path)) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def checksums(tree: Any) -> dict[str, str]:
    """The checksum of each leaf by its path: 16 hexadecimal digits. All hosts must call it together."""
    return {
        name: f"{first:08x}{second:08x}"
        for name, (first, second) in zip(leaf_names(tree), mixed_sums(tree), strict=True)
    }
