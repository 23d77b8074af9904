"""Stochastic gradient descent with momentum."""

import dataclasses
from typing import Any, ClassVar

import optax

from mtjax.optim.optimizers.base import OPTIMIZERS, Share


@OPTIMIZERS.register("sgd")
@dataclasses.dataclass(frozen=True)
class Sgd:
    """Gradient descent with momentum and decoupled weight decay.

    Formula: `m = momentum m + g`, `update = -learning_rate (m' + weight_decay p)`; `m'` is `m`, or `g + momentum m`
    with `nesterov`. One float32 moment per parameter, none with `momentum=0`; `b1`, `b2` and `eps` are not used.

    Want it for checks against theory and for memory without any state. The learning rate is per unit of gradient: for
    language models it is tuned anew, since AdamW's says nothing about it.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    usual_rate: ClassVar[float] = 0.02

    momentum: Share = 0.0  # Decay of the sum of gradients; 0 keeps no state.
    nesterov: bool = False  # Look one step ahead.

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        return optax.chain(
            optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity(),
            optax.add_decayed_weights(shared.weight_decay, shared.decays),
            optax.scale_by_learning_rate(learning_rate),
        )
