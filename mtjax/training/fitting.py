"""How a step fits into a device's memory: what is computed again, micro-batches, and positions of logits at a time.

The rule behind `auto`. Shapes and the memory of a device decide, never what happens to be free, so a machine chooses
alike each time. docs/performance.md derives it.
"""

import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mtjax.distributed.sharding import platform_of
from mtjax.model.attention import choice_for
from mtjax.reporting.sizes import size_of

AUTO: Literal["auto"] = "auto"
Remat = Literal["none", "dots", "full"]
SHARE = {"cpu": 0.8}
"""Part of a device's memory that a step may take by the estimate; 0.9 where the platform is not named."""
WORK: dict[Remat, float] = {"none": 3.0, "dots": 3.3, "full": 4.0}
"""Forward passes that a step costs: one forward, two backward, and what is computed again."""
CPU_WORK: dict[Remat, float] = {"none": 3.4, "dots": 3.0, "full": 3.6}
"""The same as measured on CPUs, where keeping numbers and reading them again costs more than computing them again."""
MICRO_BATCH = 512
"""Tokens whose products take as long as what each micro-batch adds: reading the weights, adding up the gradients."""
LOGITS = {"cpu": 2**27}
"""Bytes of one float32 `[chunk, V]` array; 2^29 where the platform is not named."""


class Fit(NamedTuple):
    """Settings of a step, and the estimate that they were chosen by."""

    remat: Remat
    micro_batches: int
    bytes: int  # of a device, at the peak
    limit: int  # what the estimate may reach

    def __str__(self) -> str:
        again = {"none": "nothing", "dots": "all but matrix products", "full": "whole blocks"}[self.remat]
        parts = "1 micro-batch" if self.micro_batches == 1 else f"{self.micro_batches} micro-batches"
        sizes = f"an estimated {size_of(self.bytes)} of the {size_of(self.limit)} that a step may take on a device"
        more = "" if self.bytes <= self.limit else "; it may run out of memory: take shorter rows, LoRA or more devices"
        return f"{parts}, {again} computed again (remat={self.remat}); {sizes}{more}"


def device_memory(device: Any) -> int:
    """Bytes of a device. Those of the host, or of its control group, are shared among its CPU devices."""
    stats = device.memory_stats() or {}
    if limit := stats.get("bytes_limit"):
        return int(limit)
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _text(pathlib.Path("/sys/fs/cgroup") / file)
        sizes += [int(text)] if text.isdigit() else []
    return min(sizes) // jax.local_device_count()


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def memory_limit(memory: float | int, platform: str) -> int:
    """Bytes of a device that a step may take by the estimate."""
    return int(memory * SHARE.get(platform, 0.9))


def chunk_for(vocab_size: int, positions: int, platform: str) -> int:
    """Positions whose logits exist at a time: as many as fill one array of `LOGITS`, from 64 to 2,048.

    It is a power of two, and no more than the positions that a device has.

    >>> chunk_for(49_152, 10_000, "cpu"), chunk_for(128_256, 10_000, "tpu"), chunk_for(300, 96, "cpu")
    (512, 1024, 128)
    """
    most = min(max(LOGITS.get(platform, 2**29) // (4 * vocab_size), 64), 2048)
    most = min(most, 1 << max(positions - 1, 0).bit_length())
    return 1 << (max(most, 1).bit_length() - 1)


def activation_bytes(
    shape: Any, tokens: int, length: int, remat: Remat, *, plain: bool, tensor: int = 1, platform: str = "cpu"
) -> int:
    """Bytes of what the forward pass of `tokens` keeps for the backward pass, and of one block's own work.

    Formula, in numbers per token and layer, `A = (H + 2 G) K` and `F` the hidden width that a token uses:
    `none: 8 D + 4 A + 7 F` (plus `2 H T` where attention is plain), `dots: 3 D + A + 2 F`, `full: D`; with the latter
    two, one layer of `none` besides. Counted from XLA's memory of compiled steps, see docs/performance.md.

    Args:
        shape: the model, a `DecoderConfig`.
        length: of a row, T.
        plain: whether `[T, T]` attention weights are kept.
        tensor: ways that heads and hidden width are split.
        platform: of the devices; a CPU keeps float32 beside bfloat16, and a number is counted as 2.5 bytes there.
    """
    mixture, layers = shape.mixture, shape.layers + (shape.encoder.layers if shape.encoder else 0)
    hidden = shape.mlp_width if mixture is None else mixture.width * mixture.per_token
    heads = (shape.heads + 2 * shape.kv_heads) * shape.head_dim / tensor
    hidden, weights = hidden / tensor, 2 * shape.heads / tensor * length if plain else 0
    whole = 8 * shape.width + 4 * heads + 7 * hidden + weights
    kept = {"none": whole, "dots": 3 * shape.width + heads + 2 * hidden, "full": shape.width}[remat]
    size = jnp.dtype(shape.dtype).itemsize
    size = 2.5 if size == 2 and platform == "cpu" else size
    return int(size * tokens * (layers * kept + (whole if remat != "none" else 0)))


def fit(
    shape: Any,
    tokens: int,
    length: int,
    mesh: Mesh,
    *,
    held: int,
    gradient: int,
    chunk: int,
    limit: int,
    remats: Iterable[Remat],
    micro_batches: Iterable[int],
) -> Fit:
    """The cheapest settings whose estimate stays within `limit`; the smallest estimate where none does.

    Formula: `cost = WORK[remat] tokens + MICRO_BATCH micro_batches` (`CPU_WORK` on a CPU), the latter three times where
    `fsdp` gathers the weights for each; `bytes = held + gradient (twice with micro-batches) + activations /
    micro_batches + 4 chunk V float32 + 2 copies of the head and of the weights of one layer`, in the type of the
    computation but on a CPU.

    Args:
        shape: the model, a `DecoderConfig`.
        tokens: of all rows of all devices; each side of a pair counts.
        length: of a row.
        held: bytes on a device of what a step is called with: parameters, optimizer state, reference.
        gradient: bytes on a device of the gradient.
        remats: values to choose from, such as one that a user has set.
        micro_batches: numbers to choose from.
    """
    ways = mesh.shape["data"] * mesh.shape["fsdp"] * mesh.shape["expert"] * mesh.shape["context"]
    tensor, tokens = mesh.shape["tensor"], max(tokens // ways, 1)
    plain = shape.encoder is not None or choice_for(shape, length, mesh).name == "plain"
    columns = 3 * shape.mlp_width + 2 * (shape.heads + shape.kv_heads) * shape.head_dim
    platform = platform_of(mesh)
    size = 4 if platform == "cpu" else jnp.dtype(shape.dtype).itemsize
    gathered = 2 * size * shape.width * (shape.vocab_size + (columns // tensor if ways > 1 else 0))
    logits = 4 * 4 * chunk * shape.vocab_size

    def estimate(remat: Remat, count: int) -> int:
        kept = activation_bytes(
            shape, -(-tokens // count), length, remat, plain=plain, tensor=tensor, platform=platform
        )
        return held + gradient * (1 if count == 1 else 2) + kept + logits + gathered

    work = CPU_WORK if platform == "cpu" else WORK

    def cost(found: Fit) -> tuple[float, int]:
        times = 3 if mesh.shape["fsdp"] > 1 else 1
        return work[found.remat] * tokens + times * MICRO_BATCH * found.micro_batches, found.micro_batches

    counts = list(micro_batches)
    every = [Fit(remat, count, estimate(remat, count), limit) for remat in remats for count in counts]
    fitting = [one for one in every if one.bytes <= limit]
    return min(fitting, key=cost) if fitting else min(every, key=lambda one: one.bytes)


def counts_of(rows: int, allowed: Callable[[int], Any], asked: int | str) -> list[int]:
    """The numbers of micro-batches to choose from: the one that was asked for, or all that divide the rows.

    `allowed` raises an error for a number that cannot be.
    """
    if asked != AUTO:
        return [int(asked)]
    found = [1]
    for count in (count for count in range(2, rows + 1) if rows % count == 0):
        try:
            allowed(count)
        except ValueError:  # InputError is one
            continue
        found.append(count)
    return found
