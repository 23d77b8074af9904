"""Lion: the sign of a momentum, with half of AdamW's state."""

import dataclasses
from typing import Any

import optax

from mtjax.optim.optimizers.base import OPTIMIZERS, MomentType


@OPTIMIZERS.register("lion")
@dataclasses.dataclass(frozen=True)
class Lion:
    """Sign of an interpolation between momentum and gradient, with decoupled weight decay.

    Formula: `update = -learning_rate (sign(b1 m + (1 - b1) g) + weight_decay p)`, then `m = b2 m + (1 - b2) g`. One
    float32 moment per parameter; `eps` is not used.

    Want it to save the memory of AdamW's second moment. Use a learning rate 3 to 10 times smaller than with AdamW and a
    weight decay larger by the same factor. The paper has `b2 = 0.99`.

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023 (arXiv 2302.06675).
    """

    moment_type: MomentType = "float32"
    """Type of the moment; bfloat16 halves the state."""

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        decay = {"weight_decay": shared.weight_decay, "mask": shared.decays}
        return optax.lion(learning_rate, shared.b1, shared.b2, mu_dtype=self.moment_type, **decay)
