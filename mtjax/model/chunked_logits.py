"""Chunked logits: functions of the logits, a chunk of positions at a time, so that no `[B, T, V]` array exists.

On a mesh every device takes its share of the positions and a complete copy of the head, loops over its chunks without
communication, and the head's gradient is reduced once after the loop (a plain scan reduces it once per chunk). Rows are
split as usual; time is split over `context`, as the hidden states are, and over `tensor`, whose devices hold copies.

The positions that are asked for stand in front, and chunks without one are left out: padding costs no product with the
head, and where the scores of targets alone are used, contexts cost none.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mtjax.distributed.sharding import mesh_axes, mesh_in_force
from mtjax.types import LanguageModel, Params

ChunkFn = Callable[..., Any]  # `(logits [C, V] or a tuple of them, tokens [C], extras) -> tree of [C]`


class Head(NamedTuple):
    """The part of a model that turns hidden states into logits, with only the parameters it uses."""

    logits: Callable[[list[Array], Float[Array, "C D"]], Float[Array, "C V"]]  # `(leaves, hidden) -> logits`, float32
    leaves: list[Array]  # the parameters that `logits` reads; on a mesh only these are gathered


def head_of(model: LanguageModel, params: Params, hidden: Float[Array, "*B D"]) -> Head:
    """Cut the head out of a model, by tracing `model.logits` and keeping the parameters it reads."""
    leaves, tree = jax.tree.flatten(params)
    row = jax.ShapeDtypeStruct((1, hidden.shape[-1]), hidden.dtype)
    jaxpr = jax.make_jaxpr(model.logits)(params, row).jaxpr
    read = {id(variable) for equation in jaxpr.eqns for variable in equation.invars}
    used = [index for index, variable in enumerate(jaxpr.invars[:-1]) if id(variable) in read]

    def logits(own: list[Array], hidden: Float[Array, "C D"]) -> Float[Array, "C V"]:
        filled = dict(zip(used, own, strict=True))
        # None for what the head does not read keeps it out of the trace.
        return model.logits(jax.tree.unflatten(tree, [filled.get(index) for index in range(len(leaves))]), hidden)

    return Head(logits, [leaves[index] for index in used])


def is_target(segments: Int[Array, "B T"]) -> Bool[Array, "B T"]:
    """Which tokens are predicted from the one before: not the first of a segment, nor padding."""
    before = jnp.concatenate([jnp.zeros_like(segments[:, :1]), segments[:, :-1]], axis=1)
    return (segments > 0) & (segments == before)


def map_next_token(
    fn: ChunkFn,
    heads: tuple[Head, ...],
    hiddens: tuple[Float[Array, "B T D"], ...],
    tokens: Int[Array, "B T"],
    segments: Int[Array, "B T"],
    extras: dict[str, Array],
    chunk: int,
    asked: Bool[Array, "B T"] | None = None,
) -> Any:
    """Apply `fn` where token t meets the logits made from hidden state t - 1. **The one place with a shift.**

    Args:
        fn: gets a tuple of logits, one per head, each `[C, V]`, the tokens `[C]` and the extras, each `[C]`.
        extras: per-token arrays `[B, T]`, aligned with the token.
        chunk: positions a device handles at a time, C; its scratch memory is a few `[C, V]` arrays.
        asked: the tokens whose values are used; None is all.

    Returns the tree of `fn` with `[B, T]` leaves, 0 where `is_target` or `asked` is false. Gradients flow to hidden
    states and heads, not to extras nor to what `fn` closes over.
    """
    ahead = lambda x: jnp.roll(x, -1, axis=1)
    live = is_target(segments) if asked is None else is_target(segments) & asked
    other = (ahead(live), ahead(tokens), {name: ahead(x) for name, x in extras.items()})
    run = partial(_map_positions, fn, tuple(head.logits for head in heads), chunk)
    out = run(tuple(head.leaves for head in heads), hiddens, other)
    back = lambda x: jnp.where(live, jnp.roll(x, 1, axis=1), 0)
    return jax.tree.map(back, out)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _map_positions(fn: ChunkFn, logits: tuple, chunk: int, leaves: Any, hidden: Any, other: Any) -> Any:
    """`fn` on every position that is asked for; leaves of `hidden` and `other` are `[B, T, ...]`."""

    def local(leaves: Any, hidden: Any, other: Any) -> Any:
        order = _asked_first(other[0])
        on_chunk = partial(_on_chunk, fn, logits, leaves)

        def one(_: None, xs: Any) -> tuple[None, Any]:
            hidden, (asked, *other) = xs
            made = jax.eval_shape(on_chunk, hidden, other)
            zeros = lambda *_: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), made)
            return None, jax.lax.cond(jnp.any(asked), on_chunk, zeros, hidden, other)

        out = jax.lax.scan(one, None, _chunked(_taken((hidden, other), order), chunk))[1]
        return _put_back(_joined(out, len(order)), order)

    return _on_every_device(local, reduce=False)(leaves, hidden, other)


def _forward(fn: ChunkFn, logits: tuple, chunk: int, leaves: Any, hidden: Any, other: Any) -> Any:
    return _map_positions(fn, logits, chunk, leaves, hidden, other), (leaves, hidden, other)


def _backward(fn: ChunkFn, logits: tuple, chunk: int, kept: Any, gradient: Any) -> Any:
    """Make each chunk's logits again; add up the head's gradient on the device and reduce it once, after the loop."""

    def local(leaves: Any, hidden: Any, other: Any) -> Any:
        other, gradient = other
        order = _asked_first(other[0])

        def pulled(total: Any, hidden: Any, other: Any, gradient: Any) -> Any:
            _, pull = jax.vjp(lambda leaves, hidden: _on_chunk(fn, logits, leaves, hidden, other), leaves, hidden)
            of_leaves, of_hidden = pull(gradient)
            return jax.tree.map(jnp.add, total, of_leaves), of_hidden

        def one(total: Any, xs: Any) -> Any:
            hidden, (asked, *other), gradient = xs
            nothing = lambda total, hidden, *_: (total, jax.tree.map(jnp.zeros_like, hidden))
            return jax.lax.cond(jnp.any(asked), pulled, nothing, total, hidden, other, gradient)

        zeros = jax.tree.map(jnp.zeros_like, leaves)
        total, of_hidden = jax.lax.scan(one, zeros, _chunked(_taken((hidden, other, gradient), order), chunk))
        return total, _put_back(_joined(of_hidden, len(order)), order)

    leaves, hidden, other = kept
    of_leaves, of_hidden = _on_every_device(local, reduce=True)(leaves, hidden, (other, gradient))
    return of_leaves, of_hidden, jax.tree.map(lambda _: None, other)


_map_positions.defvjp(_forward, _backward)


def _on_chunk(fn: ChunkFn, logits: tuple, leaves: Any, hidden: Any, other: Any) -> Any:
    return fn(tuple(one(own, rows) for one, own, rows in zip(logits, leaves, hidden, strict=True)), *other)


def _asked_first(asked: Bool[Array, " N"]) -> Int[Array, " N"]:
    """An order of the positions in which those that are asked for stand in front, each part as before."""
    return jnp.argsort(~asked, stable=True)


def _taken(tree: Any, order: Int[Array, " N"]) -> Any:
    return jax.tree.map(lambda x: x[order], tree)


def _put_back(tree: Any, order: Int[Array, " N"]) -> Any:
    """The way back of `_taken`."""
    places = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    return _taken(tree, places)


def _chunked(tree: Any, chunk: int) -> Any:
    """`[N, ...] -> [N / chunk, chunk, ...]`, filled up with zeros."""

    def cut(x: Array) -> Array:
        count = max(-(-x.shape[0] // chunk), 1)
        x = jnp.pad(x, [(0, count * chunk - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(count, chunk, *x.shape[1:])

    return jax.tree.map(cut, tree)


def _joined(tree: Any, length: int) -> Any:
    """`[N / chunk, chunk, ...] -> [N, ...]`, the way back of `_chunked`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:length], tree)


def _on_every_device(local: Callable[..., Any], reduce: bool) -> Callable[..., Any]:
    """Run `local(leaves, hidden, other)` on each device's share of the positions `[B, T]`; without a mesh, on all.

    `local` sees its positions in one row, `[N, ...]`. With `reduce`, it returns `(sum for the leaves, per position)`,
    and the sum is added up over the devices.
    """
    mesh = mesh_in_force()

    def share(leaves: Any, hidden: Any, other: Any) -> Any:
        shape = hidden[0].shape[:2]
        merge = lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
        out = local(leaves, merge(hidden), merge(other))
        split = lambda tree: jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), tree)
        if not reduce:
            return split(out)
        return out[0] if mesh is None else jax.lax.psum(out[0], mesh.auto_axes), split(out[1])

    if mesh is None:
        return share
    axes: Any = (mesh_axes("batch", mesh), (*mesh_axes("length", mesh), "tensor"))
    split, whole = jax.P(*axes), jax.P()
    out_specs = (whole, split) if reduce else split
    mapped = jax.shard_map(share, in_specs=(whole, split, split), out_specs=out_specs, check_vma=False)
    ways = [math.prod(mesh.shape[name] for name in names) for names in axes]

    def run(leaves: Any, hidden: Any, other: Any) -> Any:
        rows, length = hidden[0].shape[:2]
        fill = [(0, -size % count) for size, count in zip((rows, length), ways, strict=True)]
        even = lambda x: jnp.pad(x, fill + [(0, 0)] * (x.ndim - 2)) if fill != [(0, 0)] * 2 else x
        out = mapped(leaves, jax.tree.map(even, hidden), jax.tree.map(even, other))
        trim = lambda tree: jax.tree.map(lambda x: x[:rows, :length], tree)
        return (out[0], trim(out[1])) if reduce else trim(out)

    return run
