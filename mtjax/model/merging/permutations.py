"""The permutations of a decoder's neurons and heads that leave its function as it is, and those that match another.

Everything on the residual stream shares one permutation; the hidden neurons of each MLP have their own; the heads of
each attention move as a whole, a key/value head together with its query heads.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.errors import InputError
from mtjax.types import LanguageModel, Params

STREAM, MLP, HEADS, KV = "stream", "mlp", "heads", "kv_heads"
HEAD_NORMS = ("query_norm", "key_norm")  # over the numbers of a head, which rotary positions tie to their places

Permutations = Mapping[str, np.ndarray]
"""By name: place i holds what stood at place `permutation[i]`. That of heads is of the query heads."""


class Piece(NamedTuple):
    """A parameter, or one layer of it, with the name of the permutation of each axis, or None."""

    path: tuple[str, ...]
    layer: int | None
    names: tuple[str | None, ...]


def pieces_of(model: LanguageModel) -> list[Piece]:
    """All parameters with the permutations of their axes, by the names of the axes.

    Raises InputError for experts and encoders, whose permutations are others.
    """
    if model.config.mixture is not None or model.config.encoder is not None:
        kind = "experts" if model.config.mixture is not None else "an encoder"
        raise InputError(f"weight_matching knows decoders without {kind}; take soup or wise_ft for models of one start")
    is_names = lambda leaf: isinstance(leaf, tuple)
    leaves = jax.tree_util.tree_leaves_with_path(model.axes, is_leaf=is_names)
    out = []
    for keys, axes in leaves:
        path = tuple(key.key for key in keys)
        layers = range(model.config.layers) if axes[:1] == ("layers",) else (None,)
        for layer in layers:
            own = axes if layer is None else axes[1:]
            out.append(Piece(path, layer, tuple(_name(axis, path, layer) for axis in own)))
    return out


def _name(axis: str | None, path: tuple[str, ...], layer: int | None) -> str | None:
    if axis == "embed" or (axis == "norm" and path[-2] not in HEAD_NORMS):
        return STREAM
    return f"{axis} {layer}" if axis in (MLP, HEADS, KV) else None


def identities(model: LanguageModel) -> dict[str, np.ndarray]:
    """The permutations that change nothing."""
    c = model.config
    sizes = {STREAM: c.width}
    sizes |= {f"{MLP} {layer}": c.mlp_width for layer in range(c.layers)}
    sizes |= {f"{HEADS} {layer}": c.heads for layer in range(c.layers)}
    return {name: np.arange(size) for name, size in sizes.items()}


def _order(name: str, permutations: Permutations, together: int) -> np.ndarray:
    """The order of an axis; key/value heads follow the first of their query heads."""
    if name.startswith(KV):
        return permutations[name.replace(KV, HEADS)][::together] // together
    return permutations[name]


def _at(tree: Any, piece: Piece) -> np.ndarray:
    for part in piece.path:
        tree = tree[part]
    return tree if piece.layer is None else tree[piece.layer]


def _moved(array: np.ndarray, piece: Piece, permutations: Permutations, together: int, but: int = -1) -> np.ndarray:
    """A parameter with the axes in the order of their permutations, but for one axis."""
    for axis, name in enumerate(piece.names):
        if name is not None and axis != but:
            array = np.take(array, _order(name, permutations, together), axis)
    return array


def permuted(model: LanguageModel, params: Params, permutations: Permutations) -> Params:
    """The same function with its neurons and heads in another order, as NumPy arrays."""
    out: Any = jax.tree.map(lambda x: np.array(x), params)
    together = model.config.heads // model.config.kv_heads
    for piece in pieces_of(model):
        own = _at(out, piece)
        own[...] = _moved(own, piece, permutations, together)
    return out


def matching(model: LanguageModel, a: Params, b: Params, passes: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
    """The permutations of `b` that bring it near `a`: coordinate ascent on the inner product of their weights.

    Formula: for one permutation at a time, in random order, with the others as they are, `A = sum_W mat(W_a)
    mat(W_b)^T` over all weights W that have its axis; the new permutation is the assignment with the largest sum of A.
    Ends after a pass in which no sum grew, or after `passes`. In float64 on the host.

    Source: Ainsworth et al., "Git Re-Basin: Merging Models modulo Permutation Symmetries", ICLR 2023, algorithm 1
    (arXiv 2209.04836); Ito et al., "Analysis of Linear Mode Connectivity via Permutation-Based Weight Matching",
    ICLR 2025 (arXiv 2402.04051).
    """
    together = model.config.heads // model.config.kv_heads
    a, b = (jax.tree.map(np.asarray, params) for params in (a, b))
    pieces, found, rng = pieces_of(model), identities(model), np.random.default_rng(seed)

    def products(name: str) -> Any:
        total: Any = 0.0
        for piece in pieces:
            for axis in (axis for axis, own in enumerate(piece.names) if own == name):
                flat = lambda x, axis=axis: np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).astype(np.float64)
                total = total + flat(_at(a, piece)) @ flat(_moved(_at(b, piece), piece, found, together, axis)).T
        return total

    for _ in range(passes):
        grew = False
        for name in rng.permutation(list(found)):
            own = products(name)
            if name.startswith(HEADS):
                of_keys = products(name.replace(HEADS, KV))
                new = _grouped(own, of_keys, together)
                kv = lambda order, of_keys=of_keys: _sum(of_keys, order[::together] // together)
                before, after = (_sum(own, order) + kv(order) for order in (found[name], new))
            else:
                new = _assigned(own)
                before, after = _sum(own, found[name]), _sum(own, new)
            if after > before + 1e-12 * max(1.0, abs(before)):
                found[name], grew = new, True
        if not grew:
            break
    return found


def _sum(products: np.ndarray, order: np.ndarray) -> float:
    return float(products[np.arange(len(order)), order].sum())


def _assigned(products: np.ndarray) -> np.ndarray:
    """The order whose products have the largest sum."""
    from scipy.optimize import linear_sum_assignment

    order: np.ndarray = linear_sum_assignment(products, maximize=True)[1]
    return order


def _grouped(products: np.ndarray, of_keys: np.ndarray, together: int) -> np.ndarray:
    """The order of query heads that keeps groups together: the best within each pair of groups, then of the groups."""
    groups = len(of_keys)
    blocks = products.reshape(groups, together, groups, together).swapaxes(1, 2)
    inner: Sequence[Sequence[np.ndarray]] = [[_assigned(blocks[i, j]) for j in range(groups)] for i in range(groups)]
    value = [[of_keys[i, j] + _sum(blocks[i, j], inner[i][j]) for j in range(groups)] for i in range(groups)]
    outer = _assigned(np.array(value))
    return np.concatenate([outer[i] * together + inner[i][outer[i]] for i in range(groups)])
