"""Mixture of experts: the router, slots for tokens, and the experts' MLPs, a block of tokens at a time."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from mtjax.distributed.sharding import mesh_in_force, spec_of, ways
from mtjax.errors import InputError
from mtjax.model.adapters.base import ADAPTERS, of_experts, product
from mtjax.model.layers import ACTIVATIONS, MLP, Activation, Dense
from mtjax.types import Routing
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Shape of the mixtures that stand in place of the MLP, and what happens to tokens of a full expert."""

    experts: PositiveInt = 8  # Experts of a layer, E; `mesh.expert` divides them.
    per_token: PositiveInt = 2  # Experts that each token goes to, K.
    width: PositiveInt = 64  # Hidden width of an expert, F.
    normalize: bool = True  # The K weights of a token sum to 1 (Mixtral); else they are the router's probabilities.
    shared_width: Annotated[int, Ge(0)] = 0  # Hidden width of the expert that all tokens go to, gated; 0: none.
    dense_layers: tuple[int, ...] = ()  # Layers that have a plain MLP, from 0.
    capacity: Annotated[float, Gt(0), Lt(math.inf)] | None = None
    """An expert takes `round(capacity * group / E)` tokens of a group, and the rest are dropped; None drops none."""
    group: PositiveInt = 4096  # Tokens that share that room: so many of one row, or the row.
    least: PositiveInt = 4  # An expert has room for so many tokens of a group at least.

    def __post_init__(self) -> None:
        check_types(self, "model.mixture")
        if self.per_token > self.experts:
            raise InputError(f"model.mixture.per_token={self.per_token}: expected at most experts={self.experts}")


def room(capacity: float, group: int, experts: int, least: int) -> int:
    """Tokens of a group that one expert takes: `max(round(capacity * group / E), least)`.

    >>> room(1.25, 8, 4, 1)
    2
    """
    return max(round(capacity * group / experts), least)


def within_room(chosen: Int[Array, "N K"], live: Bool[Array, " N"], experts: int, most: int) -> Bool[Array, "N K"]:
    """Which choices of a group get a slot: all first choices before any second, each from left to right.

    `most` is the number of slots of an expert; tokens that are not `live` (padding) take none.

    Source: Xue et al., "OpenMoE", 2024 (arXiv 2402.01739).
    """
    count = chosen.shape[0]
    asked = jnp.where(live[:, None], chosen, experts).T.reshape(-1)  # all first choices, then all second ones
    order, place, _ = _ranks(asked, experts)
    return ((place < most) & (asked < experts)).reshape(-1, count).T


def _ranks(asked: Int[Array, " S"], experts: int) -> tuple[Array, Array, Array]:
    """Order by expert (stable), the rank of each choice among those of its expert, and the number of each expert's."""
    order = jnp.argsort(asked, stable=True)
    counts = jnp.zeros(experts + 1, jnp.int32).at[asked].add(1)
    starts = jnp.cumsum(counts) - counts
    rank = jnp.zeros_like(asked).at[order].set(jnp.arange(len(asked), dtype=asked.dtype) - starts[asked[order]])
    return order, rank, counts[:experts]


Sides = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""Gate, up and down of all experts, each as `adapters.base.product` takes it: a kernel, and the leaves of adapters."""


def _block(activation: Activation, rows: Any, weights: Any, sides: Sides) -> Float[Array, "R D"]:
    """One expert's MLP on the rows of a block, times their weights, in float32."""
    gate, up, down = sides
    inner = ACTIVATIONS[activation](product(rows, gate)) * product(rows, up)
    if down.keys() == {"kernel"}:
        out = jnp.matmul(inner, down["kernel"], preferred_element_type=jnp.float32)
    else:
        out = product(inner, down).astype(jnp.float32)
    return out * weights[:, None]


def _rows_of(x: Array, weights: Array, slots: Array) -> tuple[Array, Array]:
    """Tokens and weights of a block's slots; a slot without a choice has zeros."""
    empty = slots == weights.size
    at = jnp.where(empty, 0, slots)
    rows, own = x[at // weights.shape[1]], weights.reshape(-1)[at]
    return jnp.where(empty[:, None], 0, rows), jnp.where(empty, 0, own)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def experts_of_blocks(
    activation: Activation,
    x: Float[Array, "N D"],
    weights: Float[Array, "N K"],
    sides: Sides,
    slots: Int[Array, "M R"],
    owner: Int[Array, " M"],
) -> Float[Array, "N D"]:
    """`sum_k w_nk MLP_{e_nk}(x_n)` over the choices in `slots`, in float32; block m of them is for expert `owner[m]`.

    Slot values are `n K + k`, or `N K` for an empty slot; an owner of E is a block without choices, which is skipped.
    Only one block's hidden activations exist at a time, also in the backward pass, which makes them again.
    """

    def one(total: Array, xs: Any) -> tuple[Array, None]:
        slots, owner = xs

        def go(total: Array) -> Array:
            rows, own = _rows_of(x, weights, slots)
            out = _block(activation, rows, own, jax.tree.map(lambda leaf: leaf[owner], sides))
            return total.at[slots // weights.shape[1]].add(out, mode="drop")

        return jax.lax.cond(owner < count_of(sides), go, lambda total: total, total), None

    return jax.lax.scan(one, jnp.zeros(x.shape, jnp.float32), (slots, owner))[0]


def count_of(sides: Sides) -> int:
    """How many experts there are."""
    return int(sides[0]["kernel"].shape[0])


def _forward(activation: Activation, *given: Any) -> tuple[Array, Any]:
    is_leaf = lambda one: hasattr(one, "perturbed")
    values = jax.tree.map(lambda one: one.value, given, is_leaf=is_leaf)
    asked = [() if one.perturbed else None for one in jax.tree.leaves(given[2], is_leaf=is_leaf)]  # trees, not arrays
    return experts_of_blocks(activation, *values), (values, asked)


def _backward(activation: Activation, kept: Any, gradient: Any) -> Any:
    """Leaves of `sides` that are frozen, such as the kernels below an adapter, have no gradient and take no memory."""
    (x, weights, sides, slots, owner), asked = kept
    leaves, shape = jax.tree.flatten(sides)
    split = lambda leaves: [leaf for leaf, wanted in zip(leaves, asked, strict=True) if wanted is not None]

    def joined(wanted: list[Any], all_leaves: list[Any]) -> Any:
        own, each = iter(wanted), zip(all_leaves, asked, strict=True)
        return jax.tree.unflatten(shape, [leaf if asks is None else next(own) for leaf, asks in each])

    if isinstance(gradient, SymbolicZero):
        gradient = jnp.zeros(gradient.shape, gradient.dtype)

    def one(sums: Any, xs: Any) -> tuple[Any, None]:
        slots, owner = xs

        def go(sums: Any) -> Any:
            of_x, of_weights, of_leaves = sums
            rows, own = _rows_of(x, weights, slots)
            at, here = slots // weights.shape[1], [leaf[owner] for leaf in leaves]
            block = lambda rows, own, wanted: _block(activation, rows, own, joined(wanted, here))
            _, pull = jax.vjp(block, rows, own, split(here))
            d_rows, d_own, d_leaves = pull(gradient.at[at].get(mode="fill", fill_value=0))
            of_x = of_x.at[at].add(d_rows.astype(jnp.float32), mode="drop")
            of_weights = of_weights.at[slots].add(d_own, mode="drop")
            added = [leaf.at[owner].add(d.astype(jnp.float32)) for leaf, d in zip(of_leaves, d_leaves, strict=True)]
            return of_x, of_weights, added

        return jax.lax.cond(owner < count_of(sides), go, lambda sums: sums, sums), None

    wide = lambda shape: jnp.zeros(shape, jnp.float32)
    zeros = (wide(x.shape), wide(weights.size), [wide(leaf.shape) for leaf in split(leaves)])
    (of_x, of_weights, of_leaves), _ = jax.lax.scan(one, zeros, (slots, owner))
    cast = [d.astype(leaf.dtype) for d, leaf in zip(of_leaves, split(leaves), strict=True)]
    of_sides = joined(cast, [None] * len(leaves))
    return of_x.astype(x.dtype), of_weights.reshape(weights.shape).astype(weights.dtype), of_sides, None, None


experts_of_blocks.defvjp(_forward, _backward, symbolic_zeros=True)


def blocks_of(asked: Int[Array, "N K"], experts: int, share: int) -> tuple[Int[Array, "M R"], Int[Array, " M"]]:
    """`slots` and `owner` for `experts_of_blocks`: each expert's choices in blocks of their own; E asks for nobody.

    A block has about `share` rows, the choices of an expert where all have the same, and from 8 to 512.
    """
    flat = asked.reshape(-1)
    rows = min(max(1 << math.ceil(math.log2(max(share, 1))), 8), 512)
    blocks = -(-flat.size // rows) + min(experts, flat.size)
    _, rank, counts = _ranks(flat, experts)
    own_blocks = -(-counts // rows)
    ends = jnp.cumsum(own_blocks)
    first = jnp.concatenate([ends - own_blocks, jnp.array([blocks])])  # of each expert; out of range for nobody's
    slots = jnp.full(blocks * rows, flat.size, jnp.int32)
    slots = slots.at[first[flat] * rows + rank].set(jnp.arange(flat.size, dtype=jnp.int32), mode="drop")
    owner = jnp.searchsorted(ends, jnp.arange(blocks), side="right").astype(jnp.int32)
    return slots.reshape(blocks, rows), owner


def mix(
    activation: Activation,
    experts: int,
    x: Float[Array, "B T D"],
    asked: Int[Array, "B T K"],
    weights: Float[Array, "B T K"],
    sides: Sides,
) -> Float[Array, "B T D"]:
    """The experts' weighted sum for every token, in float32; `asked` has E where a choice was dropped.

    On a mesh each device has its part of the experts (`mesh.expert`): it gathers the tokens of the devices along that
    axis, runs its experts on them, and the sums are scattered back.
    """
    mesh = mesh_in_force()
    split, parts = ways(mesh, "batch"), ways(mesh, "experts")
    by_rows, by_time = x.shape[0] % split == 0, x.shape[1] % ways(mesh, "length") == 0

    def on_device(x: Any, asked: Any, weights: Any, *sides: Any) -> Any:
        if parts > 1:
            if by_rows:
                x, asked, weights = (
                    jax.lax.all_gather(each, "expert", axis=0, tiled=True) for each in (x, asked, weights)
                )
            here = experts // parts
            own = asked - jax.lax.axis_index("expert") * here
            asked = jnp.where((own >= 0) & (own < here), own, here)
        shape, flat = x.shape, lambda each: each.reshape(-1, each.shape[-1])
        slots, owner = blocks_of(flat(asked), count_of(sides), asked.size // experts)
        out = experts_of_blocks(activation, flat(x), flat(weights), sides, slots, owner).reshape(shape)
        if mesh is not None and ways(mesh, "mlp") > 1:
            out = jax.lax.psum(out, "tensor")
        if parts > 1 and by_rows:
            return jax.lax.psum_scatter(out, "expert", scatter_dimension=0, tiled=True)
        return jax.lax.psum(out, "expert") if parts > 1 else out

    if mesh is None:
        return on_device(x, asked, weights, *sides)
    tokens = spec_of(("batch" if by_rows else None, "length" if by_time else None, None), mesh)

    def specs_of(side: Mapping[str, Any], into: str | None, out: str | None) -> dict[str, Any]:
        """How the leaves of one side are split, those of adapters by `split`."""
        split = lambda name, leaf: spec_of(("experts", *ADAPTERS[name].split(leaf, (into,), (out,))), mesh)
        own = {name: {leaf: split(name, leaf) for leaf in side[name]} for name in side.keys() - {"kernel"}}
        return {"kernel": spec_of(("experts", into, out), mesh), **own}

    gate, up, down = sides
    specs = (specs_of(gate, None, "mlp"), specs_of(up, None, "mlp"), specs_of(down, "mlp", None))
    mapped = jax.shard_map(on_device, in_specs=(*(tokens,) * 3, *specs), out_specs=tokens, check_vma=False)
    return mapped(x, asked, weights, *sides)


class Experts(nn.Module):
    """The mixture of one layer: `sum_k w_k MLP_{e_k}(x)`, with K experts by the router, and the shared expert.

    The router is in float32: `p = softmax(x R)`, its K largest are the weights.
    """

    config: Mixture
    width: int
    activation: Activation
    scale: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T D"], segments: Int[Array, "B T"] | None
    ) -> tuple[Float[Array, "B T D"], Routing]:
        """The sum, and how tokens were routed. Without `segments` (cached decoding) no token is dropped."""
        c, drawn = self.config, nn.initializers.normal(self.scale)
        router = self.param("router", drawn, (self.width, c.experts))
        shapes = {"gate": (self.width, c.width), "up": (self.width, c.width), "down": (c.width, self.width)}
        kernels = {n: self.param(n, drawn, (c.experts, *shape)).astype(x.dtype) for n, shape in shapes.items()}
        own = of_experts(self, kernels)
        sides = own["gate"], own["up"], own["down"]
        logits = jnp.matmul(x.astype(jnp.float32), router.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
        weights, chosen = jax.lax.top_k(jax.nn.softmax(logits, axis=-1), c.per_token)
        if c.normalize:
            weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
        kept = jnp.ones(chosen.shape, bool)
        if c.capacity is not None and segments is not None:
            kept = _kept(c, chosen, segments > 0)
        out = mix(self.activation, c.experts, x, jnp.where(kept, chosen, c.experts), weights, sides).astype(x.dtype)
        if c.shared_width:
            shared = MLP(self.width, c.shared_width, self.activation, self.scale, name="shared")(x)
            gate = Dense((self.width,), (1,), self.scale, name="shared_gate")(x)
            out = out + jax.nn.sigmoid(gate) * shared
        return out, Routing(logits, chosen, kept)


def _kept(c: Mixture, chosen: Int[Array, "B T K"], live: Bool[Array, "B T"]) -> Bool[Array, "B T K"]:
    """`within_room` for every group of every row."""
    rows, length, choices = chosen.shape
    group = min(c.group, length)
    fill = -length % group
    cut = lambda each: jnp.pad(each, [(0, 0), (0, fill)] + [(0, 0)] * (each.ndim - 2)).reshape(
        rows * (length + fill) // group, group, *each.shape[2:]
    )
    most = room(c.capacity or 1.0, group, c.experts, c.least)
    kept = jax.vmap(lambda chosen, live: within_room(chosen, live, c.experts, most))(cut(chosen), cut(live))
    return kept.reshape(rows, length + fill, choices)[:, :length]
