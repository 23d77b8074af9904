"""FLOPs of a program, counted in its jaxpr: exact with scanned layers, which the compiler's own count takes once."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtjax.model.decoder import DecoderConfig
from mtjax.training.metrics_log import flops_per_token

ATTENTION = ("splash_mha", "mha_")
"""How the names of the kernels in `mtjax.model.kernels` begin: splash for TPU, triton for GPU."""


def dot_flops(
    jaxpr: Any, times: int = 1, windows: Sequence[int] = (), branch: Callable[[Iterator[int]], int] = max
) -> int:
    """FLOPs of all matrix products, over all devices: `2 * product of (result sides) * contracted sides` each.

    A scan's body counts as often as it runs, a `shard_map`'s once per device of the axes it is manual over, a `cond`'s
    costliest branch (or what `branch` chooses); a loop whose end depends on data counts once. An attention kernel
    counts the blocks that it visits under a causal mask (see `kernel_flops`), another Pallas kernel its body over its
    grid.

    The program runs `times` times; `windows` are those of each layer's attention, in tokens; none means complete rows.

    >>> import jax.numpy as jnp
    >>> product = jax.make_jaxpr(jnp.dot)(jnp.zeros((2, 3)), jnp.zeros((3, 5)))
    >>> dot_flops(product.jaxpr)  # 2 * 2 * 5 * 3
    60
    """
    total = 0
    for equation in jaxpr.eqns:
        name, parameters, inner = equation.primitive.name, equation.params, times
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            sides = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += times * 2 * math.prod(equation.outvars[0].aval.shape) * sides
            continue
        if name == "cond":
            total += branch(dot_flops(one.jaxpr, times, windows, branch) for one in parameters["branches"])
            continue
        if name == "pallas_call" and str(parameters.get("name")).startswith(ATTENTION):
            total += times * kernel_flops(equation, windows)
            continue
        if name == "scan":
            inner *= parameters["length"]
        elif name == "shard_map":
            inner *= math.prod(dict(parameters["mesh"].shape)[axis] for axis in parameters["newly_manual_axes"])
        elif name == "pallas_call":
            inner *= math.prod(side for side in parameters["grid_mapping"].grid if isinstance(side, int))
        total += sum(dot_flops(part, inner, windows, branch) for part in _jaxprs(equation))
    return total


def kernel_flops(equation: Any, windows: Sequence[int] = ()) -> int:
    """FLOPs of one call of an attention kernel, forward or backward, over its batch.

    Each product of its body is one of queries by keys, or as large: `2 K` FLOPs for each head and pair of positions in
    the blocks that are visited, the mean over the layers' windows. Other segments' blocks are visited too.
    """
    query, key = [x.aval.shape for x in equation.invars if jnp.issubdtype(x.aval.dtype, jnp.floating)][:2]
    length = key[-2 if equation.params["name"].startswith("splash") else -3]  # [(B,) H, T, K] and [B, T, H, K]
    products = list(_products(equation.params["jaxpr"]))
    if not products:
        return 0
    sides = products[0].outvars[0].aval.shape  # the first product is of queries by keys
    share = sum(visited_share(length, *sides, window) for window in windows or (length,)) / max(len(windows), 1)
    return round(len(products) * 2 * math.prod(query) * length * share)


@functools.cache
def visited_share(length: int, rows: int, columns: int, window: int) -> float:
    """Share of the `[T, T]` pairs in blocks of `rows` queries by `columns` keys that a causal mask has a pair of.

    >>> visited_share(4, 2, 2, window=4)  # all blocks but the upper right one
    0.75
    >>> visited_share(8, 2, 2, window=2)  # the diagonal of 4 x 4 and the blocks left of it
    0.4375
    """
    visited = sum(
        first - window < column + columns - 1 and column < first + rows
        for first in range(0, length, rows)
        for column in range(0, length, columns)
    )
    return visited * rows * columns / length**2


def _products(jaxpr: Any) -> Iterator[Any]:
    """Every `dot_general` of a jaxpr and those inside of it, in order."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for part in _jaxprs(equation):
            yield from _products(part)


def _jaxprs(equation: Any) -> Iterator[Any]:
    """The jaxprs among an equation's parameters."""
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                yield part


def matrix_params(config: DecoderConfig, params: Any) -> int:
    """Parameters that are multiplied with a token: without an embedding that is only looked up, and idle experts."""
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) - config.idle
    return count if config.tied else count - config.vocab_size * config.width


def model_flops(config: DecoderConfig, params: Any, tokens: int, length: int, passes: int, frozen: Any = ()) -> float:
    """What the objective needs of the model, without recomputation: MFU's numerator.

    `tokens` are those of the complete batch, all sides of it, in rows of `length`; attention counts causally. A forward
    pass counts 1 among the `passes`, one with its backward pass 3;
    of `frozen` parameters the backward pass computes no gradient, which is one pass less.
    """
    count = matrix_params(config, params) - (matrix_params(config, frozen) / passes if frozen else 0)
    layers = config.layers + (config.encoder.layers if config.encoder else 0)
    per_token = flops_per_token(count, layers, config.heads, config.head_dim, length)
    return per_token * tokens * passes / 3
