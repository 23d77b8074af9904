"""Attention kernels that keep no `[T, T]` scores: what each takes, the choice of one, and how each is called.

All compute `attention.attend` under `attention.packed_mask`: tests compare them, those of accelerators in interpret
mode, and lower those for it; docs/hardware.md says how they are compared on a chip.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mtjax.errors import InputError
from mtjax.model.blocked_attention import SHORTEST, SMALLEST, block_of

Asked = Literal["auto", "plain", "splash", "cudnn", "triton", "blocked"]
"""`splash` is Pallas for TPU, `cudnn` NVIDIA's library, `triton` Pallas for GPU, `blocked` plain JAX for the CPU."""

LANES = 128  # positions a kernel's block is a multiple of
BLOCKS = (512, 256, 128)  # the largest that divides the length; 512 is what MaxText and the study's AOT runs use


class Takes(NamedTuple):
    """What a kernel takes: a row of `TABLE`."""

    platforms: tuple[str, ...]  # where it runs; elsewhere it is interpreted, for tests
    head_dims: int  # the head dimension is a multiple of this
    widest: int | None  # and at most this
    types: tuple[str, ...]  # of queries, keys and values
    tokens: int  # of a row on each device: a multiple of this
    longest: int | None = None  # tokens of a row that `auto` gives it; None is any number
    window: bool = True  # sliding windows
    cap: bool = True  # a soft cap on scores
    context: bool = True  # queries that are a part of the row (mesh.context > 1)


GPUS = ("gpu", "cuda")  # what a mesh of devices and what a described one is called
BOTH = ("float32", "bfloat16")

TABLE = {
    "splash": Takes(("tpu",), 1, None, BOTH, LANES),
    "cudnn": Takes(GPUS, 8, 256, ("bfloat16",), 2, longest=8192, cap=False),
    "triton": Takes((*GPUS, "rocm"), 1, 256, BOTH, LANES, window=False, cap=False, context=False),
    "blocked": Takes(("cpu",), 1, None, BOTH, SMALLEST),
}
"""The kernels, in the order in which `auto` tries them; docs/sharding.md shows it.

cuDNN takes packed rows as a mask `[B, 1, T, T]` of bfloat16, once for all heads: exact, but quadratic, so long rows go
to triton. Its head dimension is at most 128 before Hopper (compute capability 9.0).
"""


class Choice(NamedTuple):
    """Which kernel, and why."""

    name: str  # "plain" or one of `TABLE`
    why: str  # for the line printed at the start of a run
    interpret: bool = False  # run it in plain JAX, because it is made for another platform; slow, for tests


class Case(NamedTuple):
    """What attention is asked to do."""

    length: int  # tokens of a row
    context: int = 1  # devices that share a row
    windows: tuple[int, ...] = ()  # of each layer, in tokens
    cap: float | None = None  # of the scores
    head_dim: int = 64
    dtype: str = "bfloat16"


def choose(asked: Asked, platform: str, case: Case) -> Choice:
    """The kernel for `case` on a `platform` such as "tpu".

    "auto" takes the first of the platform's own kernels that can, else plain attention; InputError where a kernel that
    is asked for by name cannot be used.
    """
    if asked == "plain":
        return Choice("plain", "as model.attention asks")
    if asked != "auto":
        here = platform in TABLE[asked].platforms
        cannot = refusal(asked, case) or (unavailable(asked, case.head_dim) if here else None)
        if cannot:
            raise InputError(f"model.attention='{asked}' cannot be used: {cannot}; set --model.attention=plain or auto")
        return _choice(asked, platform, case)
    why = []
    for name, takes in TABLE.items():
        if platform not in takes.platforms:
            continue
        cannot = refusal(name, case) or unavailable(name, case.head_dim)
        if not cannot and takes.longest is not None and case.length > takes.longest:
            cannot = f"its mask of {case.length} x {case.length} is large"
        if not cannot:
            return _choice(name, platform, case)
        why.append(f"{name} cannot be used: {cannot}")
    return Choice("plain", "; ".join(why) or f"no kernel for {platform}")


def _choice(name: str, platform: str, case: Case) -> Choice:
    if platform not in TABLE[name].platforms:
        return Choice(name, f"interpreted on {platform}, slow", True)
    if name == "cudnn":
        return Choice(name, f"a mask for all heads on {platform}")
    own = {"splash": block, "blocked": lambda length: block_of(length) or 0}.get(name, lambda length: LANES)
    return Choice(name, f"blocks of {own(case.length // case.context)} on {platform}")


def refusal(name: str, case: Case) -> str | None:
    """Why a kernel of `TABLE` cannot do `case`, or None: the only reader of what the table says."""
    takes = TABLE[name]
    if case.length % (takes.tokens * case.context) or (name == "blocked" and case.length < SHORTEST):
        if name == "blocked":
            step = SMALLEST * case.context
            return f"it is for rows of {SHORTEST} tokens and more, {step} or a multiple; this has {case.length}"
        over = f" over {case.context} devices" if case.context > 1 else ""
        return f"{case.length} tokens{over} are no multiple of {takes.tokens} each"
    if case.head_dim % takes.head_dims or (takes.widest is not None and case.head_dim > takes.widest):
        return f"it takes multiples of {takes.head_dims} up to {takes.widest}, and model.head_dim={case.head_dim}"
    if case.dtype not in takes.types:
        return f"it takes {' and '.join(takes.types)}, and model.dtype={case.dtype}"
    if case.context > 1 and not takes.context:
        return "it has no offset between queries and keys, which mesh.context > 1 needs"
    if any(window < case.length for window in case.windows) and not takes.window:
        return f"it has no sliding window (model.window={min(case.windows)})"
    if case.cap is not None and not takes.cap:
        return f"it has no cap on scores (model.score_cap={case.cap})"
    return None


def unavailable(name: str, head_dim: int) -> str | None:
    """Why a kernel cannot run on this machine's devices, or None: cuDNN is a library, and its limits are the card's."""
    if name != "cudnn":
        return None
    try:
        from jax._src.cudnn.fused_attention_stablehlo import check_cudnn_version

        check_cudnn_version()
    except Exception as error:  # not installed, too old for this JAX, or moved by it
        return f"JAX does not find the library ({error})"
    if head_dim > 128 and not _capability() >= 9.0:
        return f"model.head_dim={head_dim} needs compute capability 9.0, and this device has {_capability()}"
    return None


def _capability() -> float:
    """Compute capability of the first GPU, such as 9.0; 0 where there is none."""
    found = getattr(jax.devices()[0], "compute_capability", None)
    return float(found) if found else 0.0


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


def cudnn_attend(
    query: Float[Array, "B N H K"],
    key: Float[Array, "B M G K"],
    value: Float[Array, "B M G K"],
    mask: Callable[..., Bool[Array, "B 1 N M"]],
    given: tuple[Any, ...],
    interpret: bool,
    scalar: int | None = None,
) -> Float[Array, "B N H K"]:
    """cuDNN's flash attention under a mask, which is made of `given` again in the backward pass.

    Without that every layer would keep its `[B, 1, N, M]`. Where queries and keys are of the same places it is told to
    be causal too, which leaves out the blocks above the diagonal. `interpret` is the same call without cuDNN.
    """
    options: Any = {"scale": 1 / math.sqrt(scalar or query.shape[-1]), "is_causal": query.shape[1] == key.shape[1]}
    options["implementation"] = "xla" if interpret else "cudnn"

    def masked(query: Any, key: Any, value: Any, given: Any) -> Any:
        return jax.nn.dot_product_attention(query, key, value, mask=mask(*given), **options)

    return jax.checkpoint(masked, policy=_keep_results)(query, key, value, given)


def _keep_results(primitive: Any, *_: Any, **__: Any) -> bool:
    """What cuDNN gives (the values seen, and the normaliser of each score) is kept; the mask is made again."""
    return "dot_product_attention_fwd" in str(primitive)
