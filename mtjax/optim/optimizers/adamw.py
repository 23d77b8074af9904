"""AdamW, the default."""

import dataclasses
from typing import Any

import optax

from mtjax.optim.optimizers.base import OPTIMIZERS, decays


@OPTIMIZERS.register("adamw")
@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay.

    Formula: `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    `update = -learning_rate (m' / (sqrt(v') + eps) + weight_decay p)`, where `m'` and `v'` are the moments with the
    bias of their start at 0 corrected. Two float32 moments per parameter.

    Want it by default: the settings of every recipe are for it.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019 (arXiv 1711.05101).
    """

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        moments = (shared.b1, shared.b2, shared.eps)
        return optax.adamw(learning_rate, *moments, weight_decay=shared.weight_decay, mask=decays)
