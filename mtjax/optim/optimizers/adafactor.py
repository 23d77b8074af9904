"""Adafactor: second moments of matrices kept as one row and one column."""

import dataclasses
from typing import Annotated, Any

import optax
from annotated_types import Ge, Gt, Lt

from mtjax.optim.optimizers.base import OPTIMIZERS, Share


@OPTIMIZERS.register("adafactor")
@dataclasses.dataclass(frozen=True)
class Adafactor:
    """Adaptive steps with factored second moments, for little memory.

    Formula: `v = r c / mean(r)` with `r`, `c` the averages of `g^2` over the columns and rows of the two largest axes,
    with decay `1 - step^(-decay_rate)`; `u = g / sqrt(v)`, divided by `max(1, rms(u) / clip_threshold)`;
    `update = -learning_rate (u + weight_decay p)`. State of n + m numbers for a matrix of n by m; a first moment only
    with `momentum`. `b1`, `b2` and `eps` are not used.

    Want it where AdamW's two moments do not fit. The learning rate is given, not relative to the size of the
    parameters, as for fine-tuning; `relative` is the original paper's choice.

    Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", ICML 2018 (arXiv
    1804.04235).
    """

    decay_rate: Annotated[float, Gt(0), Lt(1)] = 0.8  # Exponent of the decay of the second moments.
    clip_threshold: Annotated[float, Gt(0)] = 1.0  # Largest root mean square of the update of a parameter.
    momentum: Share = 0.0  # Decay of a first moment of the size of the parameters; 0 keeps none.
    relative: bool = False  # Scale the update by the root mean square of the parameter.
    min_size: Annotated[int, Ge(1)] = 128  # Axes shorter than this are not factored.

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        parts = [
            optax.scale_by_factored_rms(True, decay_rate=self.decay_rate, min_dim_size_to_factor=self.min_size),
            optax.clip_by_block_rms(self.clip_threshold),
            *([optax.scale_by_param_block_rms()] if self.relative else []),
            *([optax.ema(self.momentum, debias=False)] if self.momentum else []),
            optax.add_decayed_weights(shared.weight_decay, shared.decays),
            optax.scale_by_learning_rate(learning_rate),
        ]
        return optax.chain(*parts)
