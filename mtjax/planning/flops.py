"""FLOPs of a program, counted in its jaxpr: exact with scanned layers, which the compiler's own count takes once."""

import math
from typing import Any

import jax

from mtjax.metrics import flops_per_token
from mtjax.model.decoder import DecoderConfig


def dot_flops(jaxpr: Any, times: int = 1) -> int:
    """FLOPs of all matrix products, over all devices: `2 * product of (result sides) * contracted sides` each.

    A scan's body counts as often as it runs, a `shard_map`'s once per device of the axes it is manual over, a `cond`'s
    costliest branch; a loop whose end depends on data counts once. A Pallas kernel counts what it says of itself
    (`cost_estimate`), or else its body over its grid.

    >>> import jax.numpy as jnp
    >>> product = jax.make_jaxpr(jnp.dot)(jnp.zeros((2, 3)), jnp.zeros((3, 5)))
    >>> dot_flops(product.jaxpr)  # 2 * 2 * 5 * 3
    60
    """
    total = 0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            sides = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += times * 2 * math.prod(equation.outvars[0].aval.shape) * sides
            continue
        if name == "cond":
            total += max(dot_flops(branch.jaxpr, times) for branch in parameters["branches"])
            continue
        if name == "pallas_call" and getattr(parameters.get("cost_estimate"), "flops", None):
            total += times * int(parameters["cost_estimate"].flops)
            continue
        inner = times * _repeats(name, parameters)
        total += sum(dot_flops(part, inner) for value in parameters.values() for part in _jaxprs(value))
    return total


def _repeats(name: str, parameters: dict[str, Any]) -> int:
    if name == "scan":
        return parameters["length"]
    if name == "shard_map":
        sizes = dict(parameters["mesh"].shape)
        return math.prod(sizes[axis] for axis in parameters["newly_manual_axes"])
    if name == "pallas_call":
        return math.prod(side for side in parameters["grid_mapping"].grid if isinstance(side, int))
    return 1


def _jaxprs(value: Any) -> list[Any]:
    parts = value if isinstance(value, tuple | list) else (value,)
    parts = [getattr(part, "jaxpr", part) for part in parts]
    return [part for part in parts if hasattr(part, "eqns")]


def matrix_params(config: DecoderConfig, params: Any) -> int:
    """Parameters that are multiplied with every token: all, without an embedding that is only looked up."""
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return count if config.tied else count - config.vocab_size * config.width


def model_flops(config: DecoderConfig, params: Any, tokens: int, length: int, passes: int) -> float:
    """What the objective needs of the model, without recomputation: MFU's numerator.

    Args:
        params: abstract parameters.
        tokens: of the whole batch, all sides of it.
        length: of a row; attention counts causally.
        passes: forward passes in all; one that has a backward pass counts 3.
    """
    per_token = flops_per_token(matrix_params(config, params), config.layers, config.heads, config.head_dim, length)
    return per_token * tokens * passes / 3
