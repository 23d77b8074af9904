"""PolyLoss: cross-entropy with a larger slope on tokens of low probability."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from mtjax.objectives import base


@base.OBJECTIVES.register("poly")
@dataclasses.dataclass(frozen=True)
class Poly:
    """Cross-entropy plus the first term of its expansion.

    Formula: `L = sum_t w_t (-log p_t + epsilon (1 - p_t)) / sum_t w_t`.

    Use it when cross-entropy is too soft on tokens that the model half knows; a negative epsilon does the opposite.

    Source: Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions", ICLR 2022
    (arXiv 2204.12511), applied to tokens.
    """

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False

    epsilon: float = 1.0  # Factor on `1 - p`; 0 is `nll`.

    def __call__(self, policy, batch, *, reference=None, key=None):
        """The loss as a sum and a count, and metrics."""
        scores = policy.scores(batch)
        logprob = scores.logprob - self.epsilon * (1 - jnp.exp(scores.logprob))
        return base.weighted_nll(scores._replace(logprob=logprob), batch, batch.weights)
