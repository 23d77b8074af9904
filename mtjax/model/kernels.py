"""Attention kernels that keep no `[T, T]` array: which one a run gets and why, and how each is called.

All do what `attention.attend` does under `attention.packed_mask`: the tests hold them to it in interpret mode, and see
that they lower for the accelerator. None has run on one yet.
"""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mtjax.errors import InputError

Asked = Literal["auto", "plain", "splash", "triton"]
"""What a config may ask for: `splash` is Pallas for TPU, `triton` Pallas for GPU."""

HOME = {"tpu": "splash", "gpu": "triton", "cuda": "triton", "rocm": "triton"}
"""The kernel of each platform."""

LANES = 128  # positions a kernel's block is a multiple of
BLOCKS = (512, 256, 128)  # the largest that divides the length; 512 is what MaxText and the study's AOT runs use


class Choice(NamedTuple):
    """Which kernel, and why.

    Attributes:
        name: "plain", "splash" or "triton".
        why: for the line printed at the start of a run.
        interpret: run it step by step in plain JAX, since it is not at home on this platform; slow, for tests.
    """

    name: str
    why: str
    interpret: bool = False


def choose(asked: Asked, platform: str, length: int, context: int, windows: tuple[int, ...]) -> Choice:
    """The kernel for rows of `length` tokens over `context` devices, on `platform`.

    Args:
        asked: "auto" takes the platform's own kernel where it can, else plain attention; a name insists.
        platform: of the devices, such as "tpu".
        windows: the window of each layer, in tokens.

    Raises:
        InputError: the kernel that was insisted on cannot do it.
    """
    name = HOME.get(platform, "plain") if asked == "auto" else asked
    if name == "plain":
        why = f"no kernel for {platform}" if asked == "auto" else "as model.attention asks"
        return Choice("plain", why)
    cannot = None
    if length % (LANES * context):
        over = f" over {context} devices" if context > 1 else ""
        cannot = f"{length} tokens{over} are no multiple of {LANES} each"
    elif name == "triton" and context > 1:
        cannot = "it has no offset between queries and keys, which mesh.context > 1 needs"
    elif name == "triton" and any(window < length for window in windows):
        cannot = f"it has no sliding window (model.window={min(windows)})"
    if cannot and asked != "auto":
        raise InputError(f"model.attention='{asked}' cannot be used: {cannot}; set --model.attention=plain or auto")
    if cannot:
        return Choice("plain", f"{name} cannot be used: {cannot}")
    interpret = HOME.get(platform) != name
    size = block(length // context) if name == "splash" else LANES  # the triton kernel keeps to its own
    why = f"interpreted on {platform}, slow" if interpret else f"blocks of {size} on {platform}"
    return Choice(name, why, interpret)


def block(length: int) -> int:
    """The largest block that divides `length`."""
    return next(size for size in BLOCKS if length % size == 0)


def splash_kernel(heads: int, length: int, window: int | None, context: int, interpret: bool) -> Any:
    """Splash attention for rows of `length` tokens whose queries are split over `context` devices.

    Its arrays say which blocks each part of the queries visits; `shard_map` hands every device its own through
    `manual_sharding_spec`. Blocks above the diagonal or outside the window are skipped, those of other segments are
    not.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    shape = (length, length)
    mask = masks.CausalMask(shape) if window is None else masks.LocalMask(shape, (window - 1, 0), 0)
    own, whole = block(length // context), block(length)
    sizes = splash.BlockSizes(
        block_q=own,
        block_kv=whole,
        block_kv_compute=whole,
        block_q_dkv=own,
        block_kv_dkv=whole,
        block_kv_dkv_compute=whole,
        block_q_dq=own,
        block_kv_dq=whole,
    )
    return splash.make_splash_mha(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=context,
        interpret=interpret,
    )


def splash_attend(
    kernel: Any,
    query: Float[Array, "B N H K"],
    key: Float[Array, "B M G K"],
    value: Float[Array, "B M G K"],
    own: Int[Array, "B N"],
    segments: Int[Array, "B M"],
) -> Float[Array, "B N H K"]:
    """Call a splash kernel on a batch; `own` are the segments of the queries."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    heads_first = lambda x: x.swapaxes(1, 2)
    one = lambda q, k, v, own, segments: kernel(q, k, v, splash.SegmentIds(own, segments))
    query = query / math.sqrt(query.shape[-1])  # the kernel does not scale
    seen = jax.vmap(one)(heads_first(query), heads_first(key), heads_first(value), own, segments)
    return heads_first(seen).astype(value.dtype)


def triton_attend(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B T G K"],
    value: Float[Array, "B T G K"],
    segments: Int[Array, "B T"],
    interpret: bool,
) -> Float[Array, "B T H K"]:
    """Pallas attention for GPUs, causal within segments. It has no grouped heads, so keys and values are repeated."""
    from jax.experimental.pallas.ops.gpu import attention

    repeat = functools.partial(jnp.repeat, repeats=query.shape[2] // key.shape[2], axis=2)
    scale = 1 / math.sqrt(query.shape[-1])
    seen: Any = attention.mha(
        query, repeat(key), repeat(value), segments, sm_scale=scale, causal=True, interpret=interpret
    )
    return seen.astype(value.dtype)
