"""Checksums of arrays, computed on their own devices: equal for equal bits on every mesh.

A checkpoint is given them by `LateChecksums`, an item of Orbax that computes them while the arrays are written, so that
training does not wait.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from mtjax.distributed import hosts

ITEM, FILE = "checksums", "checksums.json"
"""Folder, in that of a checkpoint, and file of its checksums."""
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


def begin_sums(tree: Any) -> Callable[[], list[list[int]]]:
    """Begin two 32-bit sums per leaf, in the order of the leaves; the call that is returned waits for them.

    The arrays may be changed in place (donated) in between: on the CPU their memory is kept until the call has ended,
    elsewhere the program that reads them has been started. All hosts must call both together.
    """
    leaves = jax.tree.leaves(tree)
    if all(leaf.is_fully_addressable and next(iter(leaf.devices())).platform == "cpu" for leaf in leaves):
        views = [_views(leaf) for leaf in leaves]
        return lambda: [list(_mixed_sum_on_host(_joined(*each))) for each in views]
    meshes = {leaf.sharding.mesh for leaf in leaves if isinstance(leaf.sharding, NamedSharding)}
    sums = _of_all(next(iter(meshes), None))(leaves)
    return lambda: jax.device_get(sums).tolist()  # type: ignore[no-any-return]


def _views(leaf: Array) -> tuple[tuple[int, ...], list[tuple[Any, np.ndarray]]]:
    """The shape of an array on CPU devices and each part with its place, without a copy."""
    return leaf.shape, [(one.index, np.asarray(one.data)) for one in leaf.addressable_shards if one.replica_id == 0]


def _joined(shape: tuple[int, ...], parts: list[tuple[Any, np.ndarray]]) -> np.ndarray:
    """The array of these parts."""
    if len(parts) == 1:
        return parts[0][1]
    whole = np.empty(shape, parts[0][1].dtype)
    for place, part in parts:
        whole[place] = part
    return whole


@functools.cache
def _of_all(mesh: Mesh | None) -> Any:
    """`_mixed_sum` of all leaves as one program: several with collectives at a time can wait for one another."""
    sums = lambda leaves: jnp.stack([_mixed_sum(leaf) for leaf in leaves])
    return jax.jit(sums, out_shardings=None if mesh is None else NamedSharding(mesh, PartitionSpec()))


def leaf_names(tree: Any) -> list[str]:
    """The path of each leaf, such as `params/embedding`, in their order."""
    name = lambda part: str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))))
    return ["/".join(map(name, path)) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def begin_checksums(tree: Any) -> Callable[[], dict[str, str]]:
    """Begin the checksum of each leaf by its path, 16 hexadecimal digits, as `begin_sums` does."""
    names, sums = leaf_names(tree), begin_sums(tree)
    return lambda: {name: f"{first:08x}{second:08x}" for name, (first, second) in zip(names, sums(), strict=True)}


def checksums(tree: Any) -> dict[str, str]:
    """The checksum of each leaf by its path: 16 hexadecimal digits. All hosts must call it together."""
    return begin_checksums(tree)()


def digest_of(kept: Mapping[str, Any]) -> str:
    """A hash of JSON values, to notice that the file that holds them is damaged."""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


class LateChecksumsHandler(ocp.JsonCheckpointHandler):
    """Writes what `LateChecksums` computes, in the threads in which Orbax writes arrays."""

    def __init__(self, **options: Any):
        super().__init__(FILE, **options)

    async def async_save(self, directory: epath.Path, item: Any = None, args: Any = None) -> list[ocp.future.Future]:
        """Begin to compute and write; a checkpoint counts once this has ended, too."""

        async def write() -> None:
            kept = args.compute()
            if hosts.index() == 0:
                (directory / FILE).write_text(json.dumps({**kept, "digest": digest_of(kept)}, indent=1))

        return [ocp.future.CommitFutureAwaitingContractedSignals(write(), name="checksums")]


@ocp.args.register_with_handler(LateChecksumsHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class LateChecksums(ocp.args.CheckpointArgs):
    """An item of a checkpoint: the checksums that `compute()` gives, as JSON with a digest of their own."""

    compute: Callable[[], dict[str, str]] = dict  # Orbax makes one without it when it restores all items


def saved_checksums(place: epath.Path, *, required: bool) -> dict[str, str]:
    """The checksums of the checkpoint in this folder; none where it has no such item and need not have one.

    ValueError if they are damaged, or missing and required.
    """
    file = place / ITEM / FILE
    if not required and not file.exists():
        return {}
    try:
        kept = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{ITEM}/{FILE} is missing or damaged ({error!r:.80})") from error
    if kept.pop("digest", None) != digest_of(kept):
        raise ValueError(f"{ITEM}/{FILE} is damaged: it does not have its own checksum")
    return kept
