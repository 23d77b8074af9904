"""Router z-loss: keeps the logits of a mixture's router small."""

import dataclasses

import jax
import jax.numpy as jnp

from mtjax.objectives import base
from mtjax.objectives.regularizers.base import REGULARIZERS, routing_of
from mtjax.types import Batch, Mean, Policy


@REGULARIZERS.register("router_z_loss")
@dataclasses.dataclass(frozen=True)
class RouterZLoss(base.Settings):
    """Squared normaliser of the router.

    Formula: `(logsumexp_e x_te)^2`, mean over tokens t (padding left out) and over the layers with experts.

    Want it when training the router of a mixture in low precision: small logits round less.

    Source: Zoph et al., "ST-MoE: Designing Stable and Transferable Sparse Expert Models", 2022 (arXiv 2202.08906).
    """

    weight: base.NonNegative = 0.001  # Factor on the mean.

    def __call__(self, policy: Policy, batch: Batch) -> Mean:
        routing, live = routing_of(self, policy, batch)
        squares = jax.nn.logsumexp(routing.logits, axis=-1) ** 2
        return Mean(jnp.sum(jnp.mean(squares, axis=0) * live), jnp.sum(live))
