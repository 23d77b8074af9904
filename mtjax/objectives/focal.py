"""Focal loss: tokens that the model already predicts with a high probability count less."""

import dataclasses

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import NonNegative
from mtjax.objectives.confidence import TokenLoss
from mtjax.objectives.numerics import below_certain, wide
from mtjax.types import Batch, Policy, TokenScores


def focal_loss(logprob: ArrayLike, *, gamma: base.Number) -> Float[Array, "..."]:
    """`-(1 - p)^gamma log p` of `logprob = log p`, elementwise, with the gradient through `(1 - p)^gamma`.

    A p closer to 1 than float32 can tell is held there, so that value and slope stay finite.

    >>> round(float(focal_loss(-0.6931472, gamma=2.0)), 4)  # p = 1/2: log 2 / 4
    0.1733
    """
    logprob = wide(logprob)
    return -((-jnp.expm1(below_certain(logprob))) ** gamma) * logprob


@base.OBJECTIVES.register("focal")
@dataclasses.dataclass(frozen=True)
class Focal(TokenLoss):
    """Focal loss of tokens: drop what is sure, keep what surprises.

    Formula: `-sum_t w_t (1 - p_t)^gamma log p_t / sum_t w_t`. The factor on the gradient of -log p is `(1 - p)^gamma -
    gamma p (1 - p)^(gamma - 1) log p`, which exceeds 1 around p = 0.1. gamma = 0 is `nll`.

    Want it when most tokens are learnt, and their small losses add up to more than those of the others.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv 1708.02002), applied to tokens.
    """

    gamma: NonNegative = 2.0  # Strength of the factor; 0 is cross-entropy.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """`-(1 - p)^gamma log p`."""
        return focal_loss(logprob, gamma=self.gamma)
