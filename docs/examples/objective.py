"""Focal loss: tokens that the model already predicts with high probability get a lower weight."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from mtjax.objectives import base


@base.OBJECTIVES.register("focal")
@dataclasses.dataclass(frozen=True)
class Focal:
    """Cross-entropy that down-weights easy tokens.

    Formula: `L = -sum_t w_t (1 - p_t)^gamma log p_t / sum_t w_t`, without a gradient through the factor.

    Use it when the model has learned most tokens, and their small losses add up to more than those of the others.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv 1708.02002), applied to tokens.
    """

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False

    gamma: float = 2.0  # Strength of the down-weighting; 0 is `nll`.

    def __call__(self, policy, batch, *, reference=None, key=None):
        """The loss as a sum and a count, and metrics."""
        scores = policy.scores(batch)
        factor = jax.lax.stop_gradient((1 - jnp.exp(scores.logprob)) ** self.gamma)
        return base.weighted_nll(scores._replace(logprob=factor * scores.logprob), batch, batch.weights)
