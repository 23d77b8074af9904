"""Attention: masks, plain attention, and `packed_attention`, which calls the kernel of the platform."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, Float, Int

from mtjax.distributed.sharding import mesh_in_force, platform_of, spec_of, ways
from mtjax.errors import InputError
from mtjax.model import kernels
from mtjax.model.blocked_attention import block_of, blocked_attend
from mtjax.model.lm_infinite import Far, far_mask


def positions_of(segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Position of each token within its segment, from 0; padding (segment 0) counts like a segment."""
    index = jnp.arange(segments.shape[-1])
    before = jnp.concatenate([jnp.full_like(segments[:, :1], -1), segments[:, :-1]], axis=1)
    start = jax.lax.cummax(jnp.where(segments != before, index, 0), axis=1)
    return (index - start).astype(jnp.int32)


def lengths_of(segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Number of tokens in the segment of each token."""
    return jnp.sum(segments[:, :, None] == segments[:, None, :], axis=-1, dtype=jnp.int32)


def packed_mask(
    segments: Int[Array, "B T"],
    window: Int[Array, ""],
    own: Int[Array, "B N"] | None = None,
    first: Int[Array, ""] | int = 0,
) -> Bool[Array, "B 1 N T"]:
    """Token t sees s iff `t - window < s <= t` and both are of one segment; padding sees padding.

    `own` are the segments of the queries, where they are only a part of the row, which begins at `first`.
    """
    own = segments if own is None else own
    distance = first + jnp.arange(own.shape[-1])[:, None] - jnp.arange(segments.shape[-1])[None, :]
    near = (distance >= 0) & (distance < window)
    return (near & (own[:, :, None] == segments[:, None, :]))[:, None]


def attend(
    query: Float[Array, "B N H K"],
    key: Float[Array, "B M G K"],
    value: Float[Array, "B M G K"],
    mask: Bool[Array, "B 1 N M"],
    scalar: int | None = None,
    cap: float | None = None,
    bias: Float[Array, "#B H N M"] | None = None,
    far: tuple[Any, Any, Any] | None = None,
) -> Float[Array, "B N H K"]:
    """Grouped-query attention: `softmax(q k / sqrt(K)) v`, softmax in float32; head h reads kv head h // (H / G).

    `far` are other queries, keys and their mask (`lm_infinite.Far`), for the first of the M places as many as there
    are: where the mask is true, the score is theirs.

    `scalar` stands for K below the root; with `cap`, scores become `cap tanh(score / cap)` before the mask. `bias`, in
    float32, is added to the scores.

    Accelerators run `jax.nn.dot_product_attention`, which has no cap. For the CPU it is written out, which takes about
    0.8 of the time in a small model: heads come before time, and the softmax divides after the product,
    `(e v) / sum(e)`, so that `e` is the only `[N, M]` array that the backward pass keeps.
    """
    divisor = math.sqrt(scalar or query.shape[-1])
    if far is None and cap is None and platform_of(jax.sharding.get_abstract_mesh()) != "cpu":
        return jax.nn.dot_product_attention(query, key, value, bias=bias, mask=mask, scale=1 / divisor)
    heads_first = far if far is None else (far[0], far[1].swapaxes(1, 2), far[2])
    return attend_by_head(query, key.swapaxes(1, 2), value.swapaxes(1, 2), mask, divisor, cap, bias, heads_first)


def attend_by_head(
    query: Float[Array, "B N H K"],
    key: Float[Array, "B G M K"],
    value: Float[Array, "B G M K"],
    mask: Bool[Array, "B 1 N M"],
    divisor: float,
    cap: float | None = None,
    bias: Float[Array, "#B H N M"] | None = None,
    far: tuple[Any, Any, Any] | None = None,
) -> Float[Array, "B N H K"]:
    """`attend`, written out, with heads before time in keys and values (those of `far` too), as a cache holds them."""
    rows, length, heads, width = query.shape
    kv_heads, together = key.shape[1], heads // key.shape[1]
    # Without the preset, bfloat16 would meet float32 in the backward products (jax issue 24047).
    precision = jax.lax.DotAlgorithmPreset.BF16_BF16_F32 if query.dtype == jnp.bfloat16 else None

    def scores_of(query: Any, key: Any) -> Array:
        query = query.reshape(rows, length, kv_heads, together, width).transpose(0, 2, 3, 1, 4)
        query = query.reshape(rows, kv_heads, -1, width)
        scores = jnp.einsum("bgnk,bgmk->bgnm", query, key, precision=precision, preferred_element_type=jnp.float32)
        return scores.reshape(rows, heads, length, -1) / divisor

    scores = scores_of(query, key)
    if far is not None:
        rest = scores.shape[-1] - far[1].shape[2]
        afar = jnp.pad(scores_of(*far[:2]), [(0, 0)] * 3 + [(0, rest)])
        seen_afar = jnp.pad(far[2], [(0, 0)] * 3 + [(0, rest)])
        scores, mask = jnp.where(seen_afar, afar, scores), mask | seen_afar
    if cap is not None:
        scores = cap * jnp.tanh(scores / cap)
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(mask, scores, jnp.finfo(jnp.float32).min)
    weights = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    weights = weights.astype(value.dtype).reshape(rows, kv_heads, together * length, -1)
    seen = jnp.einsum("bgnm,bgmk->bgnk", weights, value).reshape(rows, heads, length, width)
    return (seen / total).astype(value.dtype).swapaxes(1, 2)


def choice_for(config: Any, length: int, mesh: Any = None) -> kernels.Choice:
    """The kernel for a `DecoderConfig` and rows of `length` tokens on `mesh` (default: the one in force).

    Raises InputError for a length that `mesh.context` does not divide, and as `kernels.choose`.
    """
    mesh = mesh_in_force() if mesh is None else mesh
    context = ways(mesh, "length")
    if length % context:
        raise InputError(f"mesh.context={context} does not divide rows of {length} tokens; choose a divisor of it")
    if config.encoder is not None:
        return kernels.Choice("plain", "no kernel has the position bias of an encoder-decoder")
    if config.lm_infinite is not None:
        if config.attention not in ("auto", "plain"):
            raise InputError(
                f"model.attention='{config.attention}' cannot be used: it has no model.lm_infinite; set "
                "--model.attention=plain or auto"
            )
        return kernels.Choice("plain", "no kernel has model.lm_infinite")
    case = kernels.Case(length, context, config.windows, config.score_cap, config.head_dim, config.dtype)
    return kernels.choose(config.attention, platform_of(mesh), case)


def packed_attention(
    config: Any,
    query: Float[Array, "B T H K"],
    key: Float[Array, "B T G K"],
    value: Float[Array, "B T G K"],
    segments: Int[Array, "B T"],
    window: Int[Array, ""],
    far: Far | None = None,
) -> Float[Array, "B T H K"]:
    """Attention of packed rows over themselves, by the kernel that `choice_for` names; `window` is this layer's.

    On a mesh that splits time each device keeps its part of the queries and gathers keys, values and segment numbers of
    the entire row; the backward pass scatters their gradients. Why not a ring: see
    docs/decisions/context_gathers_keys_and_values.md.
    """
    mesh, length, scalar = mesh_in_force(), query.shape[1], config.query_scalar
    choice, context = choice_for(config, length), ways(mesh, "length")
    # A splash kernel's window is part of its program: one kernel for each kind of layer.
    kinds = sorted({size if size < length else None for size in config.windows}, key=lambda size: size or length)
    made = tuple(
        kernels.splash_kernel(
            query.shape[2] // ways(mesh, "heads"), length, size, context, choice.interpret, config.score_cap
        )
        for size in (kinds if choice.name == "splash" else ())
    )

    def on_device(made: Any, query: Any, key: Any, value: Any, own: Any, window: Any, far: Any) -> Any:
        segments, first, afar = own, 0, None
        if context > 1 and far is not None:
            far = far._replace(key=jax.lax.all_gather(far.key, "context", axis=1, tiled=True))
        if context > 1:
            key, value, segments = (jax.lax.all_gather(x, "context", axis=1, tiled=True) for x in (key, value, own))
            first = jax.lax.axis_index("context") * own.shape[1]
        if choice.name == "plain":
            if far is not None:
                steps = first + jnp.arange(own.shape[-1])[:, None] - jnp.arange(segments.shape[-1])
                mask = far_mask(config.lm_infinite.starting, far, positions_of(segments), steps[None])
                afar = (far.query, far.key, mask & (own[:, :, None] == segments[:, None, :])[:, None])
            mask = packed_mask(segments, window, own, first)
            return attend(query, key, value, mask, scalar, config.score_cap, far=afar)
        if choice.name == "blocked":
            divisor, size = math.sqrt(scalar or query.shape[-1]), block_of(length, context) or 0
            place = jnp.asarray(first, jnp.int32)
            return blocked_attend(
                query, key, value, own, segments, place, jnp.asarray(window), divisor, config.score_cap, size
            )
        if choice.name == "cudnn":
            given = (segments, window, own, first)
            return kernels.cudnn_attend(query, key, value, packed_mask, given, choice.interpret, scalar)
        if choice.name == "triton":
            return kernels.triton_attend(query, key, value, segments, choice.interpret, scalar)
        calls = [functools.partial(kernels.splash_attend, kernel, scalar=scalar) for kernel in made]
        rest = (query, key, value, own, segments)
        return calls[0](*rest) if len(calls) == 1 else jax.lax.cond(window < length, *calls, *rest)

    if mesh is None or (context == 1 and choice.name == "plain"):  # the compiler splits plain attention itself
        return on_device(made, query, key, value, segments, window, far)
    of_queries: Any = spec_of(("batch", "length", "heads", "head_dim"), mesh)
    of_keys: Any = spec_of(("batch", "length", "kv_heads"), mesh)
    by_part = NamedSharding(mesh, jax.P(None, "context"))
    whole: Any = jax.P()
    of_far = Far(of_queries, of_keys, whole, whole) if far else None
    specs = (tuple(kernel.manual_sharding_spec(by_part) for kernel in made), of_queries, of_keys, of_keys)
    return jax.shard_map(
        on_device,
        in_specs=(
            *specs,
            spec_of(("batch", "length"), mesh),
            jax.P(),
            of_far,
        ),
        out_specs=of_queries,
        check_vma=False,
    )(made, query, key, value, segments, window, far)
