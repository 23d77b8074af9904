"""Attention kernels that keep no `[T, T]` array: the choice of one, and how each is called.

All compute `attention.attend` under `attention.packed_mask`: tests compare them, those of accelerators in interpret
mode, and lower those for it. None of the latter has run on one yet.
"""

import functools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mtjax.errors import InputError
from mtjax.model.blocked_attention import SHORTEST, SMALLEST, block_of

Asked = Literal["auto", "plain", "splash", "triton", "blocked"]
"""`splash` is Pallas for TPU, `triton` Pallas for GPU, `blocked` plain JAX for the CPU (`blocked_attention`)."""

HOME = {"cpu": "blocked", "tpu": "splash", "gpu": "triton", "cuda": "triton", "rocm": "triton"}
"""The kernel of each platform."""
LANES = 128  # positions a kernel's block is a multiple of
BLOCKS = (512, 256, 128)  # the largest that divides the length; 512 is what MaxText and the study's AOT runs use


class Choice(NamedTuple):
    """Which kernel, and why."""

    name: str  # "plain", "splash", "triton" or "blocked"
    why: str  # for the line printed at the start of a run
    interpret: bool = False  # run it in plain JAX, because it is made for another platform; slow, for tests


def choose(
    asked: Asked, platform: str, length: int, context: int, windows: tuple[int, ...], cap: float | None = None
) -> Choice:
    """The kernel for rows of `length` tokens over `context` devices, on a `platform` such as "tpu".

    "auto" takes the platform's own kernel where it can, else plain attention; InputError where a kernel that is asked
    for by name cannot be used. `windows` are those of each layer, in tokens; `cap` is that of the scores.
    """
    name = HOME.get(platform, "plain") if asked == "auto" else asked
    if name == "plain":
        return Choice("plain", f"no kernel for {platform}" if asked == "auto" else "as model.attention asks")
    cannot = None
    if name == "blocked":
        if block_of(length, context) is None:
            cannot = (
                f"it is for rows of {SHORTEST} tokens and more, {SMALLEST * context} or a multiple; this has {length}"
            )
    elif length % (LANES * context):
        over = f" over {context} devices" if context > 1 else ""
        cannot = f"{length} tokens{over} are no multiple of {LANES} each"
    elif name == "triton" and context > 1:
        cannot = "it has no offset between queries and keys, which mesh.context > 1 needs"
    elif name == "triton" and any(window < length for window in windows):
        cannot = f"it has no sliding window (model.window={min(windows)})"
    elif name == "triton" and cap is not None:
        cannot = f"it has no cap on scores (model.score_cap={cap})"
    if cannot and asked != "auto":
        raise InputError(f"model.attention='{asked}' cannot be used: {cannot}; set --model.attention=plain or auto")
    if cannot:
        return Choice("plain", f"{name} cannot be used: {cannot}")
    if name == "blocked":
        return Choice(name, f"blocks of {block_of(length, context)} on {platform}")
    interpret = HOME.get(platform) != name
    size = block(length // context) if name == "splash" else LANES  # the triton kernel keeps to its own
    why = f"interpreted on {platform}, slow" if interpret else f"blocks of {size} on {platform}"
    return Choice(name, why, interpret)


def block(length: int) -> int:
    """The largest block that divides `length`."""
    return next(size for size in BLOCKS if length % size == 0)


def splash_kernel(
    heads: int, length: int, window: int | None, context: int, interpret: bool, cap: float | None = None
) -> Any:
    """Splash attention for rows of `length` tokens whose queries are split over `context` devices.

    Blocks above the diagonal or outside the window are skipped, those of other segments are not.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    shape = (length, length)
    mask = masks.CausalMask(shape) if window is None else masks.LocalMask(shape, (window - 1, 0), 0)
    own, whole = block(length // context), block(length)
    of_queries: Any = dict.fromkeys(("block_q", "block_q_dkv", "block_q_dq"), own)
    of_keys = ("block_kv", "block_kv_compute", "block_kv_dkv", "block_kv_dkv_compute", "block_kv_dq")
    sizes = splash.BlockSizes(**of_queries | dict.fromkeys(of_keys, whole))
    options: Any = {"block_sizes": sizes, "head_shards": 1, "q_seq_shards": context, "interpret": interpret}
    options["attn_logits_soft_cap"] = cap
    return splash.make_splash_mha(masks.MultiHeadMask([mask] * heads), **options)


def splash_attend(
    kernel: Any,
    query: Float[Array, "B N H K"],
    key: Float[Array, "B M G K"],
    value: Float[Array, "B M G K"],
    own: Int[Array, "B N"],
    segments: Int[Array, "B M"],
    scalar: int | None = None,
) -> Float[Array, "B N H K"]:
    """Call a splash kernel on a batch; `own` are the segments of the queries, `scalar` as in `attend`."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    heads_first = lambda x: x.swapaxes(1, 2)
    one = lambda q, k, v, own, segments: kernel(q, k, v, splash.SegmentIds(own, segments))
    query = query / math.sqrt(scalar or query.shape[-1])  # the kernel does not scale
    seen = jax.vmap(one)(heads_first(query), heads_first(key), heads_first(value), own, segments)
    return heads_first(seen).astype(value.dtype)


def triton_attend(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B T G K"],
    value: Float[Array, "B T G K"],
    segments: Int[Array, "B T"],
    interpret: bool,
    scalar: int | None = None,
) -> Float[Array, "B T H K"]:
    """Pallas attention for GPUs, causal within segments. It has no grouped heads, so keys and values are repeated."""
    from jax.experimental.pallas.ops.gpu import attention

    repeat = functools.partial(jnp.repeat, repeats=query.shape[2] // key.shape[2], axis=2)
    options: Any = {"sm_scale": 1 / math.sqrt(scalar or query.shape[-1]), "causal": True, "interpret": interpret}
    seen: Any = attention.mha(query, repeat(key), repeat(value), segments, **options)
    return seen.astype(value.dtype)
