"""Parts of the parameters by the pattern of their path, such as `layers/mlp/*`, with settings of their own."""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtjax.errors import InputError

NO_DECAY = ("*scale", "*bias", "*embedding")
"""What has no weight decay by default: scales of norms, biases, embeddings (also those of relative positions)."""


def path_of(path: Sequence[Any]) -> str:
    """The path of a leaf as one text, such as `layers/attention/query/kernel`."""
    return "/".join(str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part)))) for part in path)


def matched(params: Any, patterns: Iterable[str]) -> Any:
    """A tree of booleans: whether the path of a leaf fits one of the patterns, in which `*` stands for any text."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(fnmatchcase(path_of(path), pattern) for pattern in patterns), params
    )


def decays(params: Any, exclude: Iterable[str] = NO_DECAY) -> Any:
    """Mask of the weight decay: true for what fits none of the patterns."""
    return jax.tree.map(lambda fits: not fits, matched(params, exclude))


def known_patterns(patterns: Sequence[str], setting: str) -> optax.GradientTransformation:
    """Changes nothing; its `init` raises InputError for a pattern that fits no parameter."""

    def init(params: Any) -> optax.EmptyState:
        paths = [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern in patterns:
            if not any(fnmatchcase(path, pattern) for path in paths):
                raise InputError(
                    f"{setting}: no parameter fits '{pattern}', in which * stands for any text; there are "
                    f"{', '.join(paths[:40])}"
                )
        return optax.EmptyState()

    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))


def scaled(factors: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Multiplies updates by a tree of factors, which is made from the tree of updates."""
    return optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, factors(updates)))


def by_pattern(rates: Sequence[tuple[str, float]]) -> Callable[[Any], Any]:
    """Factors by path: that of the first pattern that fits, else 1."""
    first = lambda path: next((factor for pattern, factor in rates if fnmatchcase(path, pattern)), 1.0)
    return lambda tree: jax.tree_util.tree_map_with_path(lambda path, _: first(path_of(path)), tree)


def decayed(parts: Sequence[tuple[str, float]], learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """Decoupled weight decay by pattern: adds `-learning_rate(step) decay p`, with the first pattern that fits."""
    of = lambda path: next((value for pattern, value in parts if fnmatchcase(path_of(path), pattern)), 0.0)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        rate = learning_rate(state.count)
        one = lambda path, own, p: own - rate * of(path) * p if of(path) else own
        updates = jax.tree_util.tree_map_with_path(one, updates, params)
        return updates, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda _: optax.ScaleByScheduleState(jnp.zeros((), jnp.int32)), update)


def by_layer(decay: float) -> Callable[[Any], Any]:
    """Factors that fall from the last layer to the first: `decay^(n - 1 - l)` for layer l of n, from 0.

    Embeddings before the first layer have `decay^n`; the head and the norm after the last layer have 1. Layers are the
    leading axis of arrays under `layers`; where blocks of several layers are scanned, layer l is block `l mod blocks`.
    """

    def factors(tree: Any) -> Any:
        leaves = [(path_of(path).split("/"), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
        blocks = len({names[names.index("layers") + 1] for names, _ in leaves if _block(names) is not None}) or 1
        deepest = max((leaf.shape[0] for names, leaf in leaves if "layers" in names), default=0) * blocks

        def factor(path: Sequence[Any], leaf: Any) -> Any:
            names = path_of(path).split("/")
            if "layers" in names:
                layers = jnp.arange(leaf.shape[0]) * blocks + (_block(names) or 0)
                own = decay ** (leaf.shape[0] * blocks - 1.0 - layers)
                return own.reshape(-1, *[1] * (leaf.ndim - 1))
            return decay**deepest if "embed" in names else 1.0

        return jax.tree_util.tree_map_with_path(factor, tree)

    return factors


def _block(names: Sequence[str]) -> int | None:
    """The number of the block of layers in a path, or None."""
    after = names[names.index("layers") + 1] if "layers" in names[:-1] else ""
    return int(after.removeprefix("block_")) if after.startswith("block_") else None


def clipped(largest: float, parts: Sequence[tuple[str, float]]) -> optax.GradientTransformation:
    """Clips the gradient of each part by its own norm, and all other parameters together by `largest` (0: not)."""
    if not parts:
        return optax.clip_by_global_norm(largest) if largest else optax.identity()
    labels = lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: next((pattern for pattern, _ in parts if fnmatchcase(path_of(path), pattern)), ""), tree
    )
    limits = {"": largest} | dict(parts)
    clips = {name: optax.clip_by_global_norm(limit) if limit else optax.identity() for name, limit in limits.items()}
    return optax.partition(clips, labels)


def with_rest(gradient: Callable[[Any], Any], params: Any) -> Callable[[Any], Any]:
    """The gradient as a function of some parameters, with the others, which are masked, as they are in `params`."""
    gone = lambda leaf: isinstance(leaf, optax.MaskedNode)
    pick = lambda tree, rest, keep: jax.tree.map(lambda a, b: keep(a, b), tree, rest, is_leaf=gone)

    def of_some(some: Any) -> Any:
        made = gradient(pick(some, params, lambda own, rest: rest if gone(own) else own))
        return pick(some, made, lambda own, new: own if gone(own) else new)

    return of_some
