"""What a value head is to say at the end of each step, as numbers per token."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def step_values(
    steps: Int[np.ndarray, " n"], values: Sequence[float | None] | None
) -> dict[str, Float[np.ndarray, " n"]]:
    """What a value head is to say: `value_target` at the last token of each step, where `value_weight` is 1.

    `steps` are the numbers of the steps of tokens, from 1. No arrays where there are no values.
    """
    if values is None:
        return {}
    target, weight = np.zeros(len(steps), np.float32), np.zeros(len(steps), np.float32)
    for number, value in enumerate(values, 1):
        inside = np.flatnonzero(steps == number)
        if value is not None and len(inside):
            target[inside[-1]], weight[inside[-1]] = value, 1
    return {"value_target": target, "value_weight": weight}
