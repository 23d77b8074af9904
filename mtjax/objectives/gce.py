"""Generalised cross-entropy: the bridge from cross-entropy to the expected number of right tokens."""

import dataclasses

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import Positive
from mtjax.objectives.confidence import TokenLoss
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Policy, TokenScores


def gce_loss(logprob: ArrayLike, *, q: ArrayLike) -> Float[Array, "..."]:
    """`(1 - p^q) / q` of `logprob = log p`, elementwise; 1/q for an impossible token.

    >>> round(float(gce_loss(-1.386294, q=0.5)), 4)  # p = 1/4: (1 - 1/2) / (1/2)
    1.0
    """
    return -jnp.expm1(wide(q) * wide(logprob)) / wide(q)


@base.OBJECTIVES.register("gce")
@dataclasses.dataclass(frozen=True)
class Gce(TokenLoss):
    """Generalised cross-entropy of tokens.

    Formula: `sum_t w_t (1 - p_t^q) / q / sum_t w_t`. The factor on the gradient of -log p is `p^q`: q near 0 is `nll`,
    and q = 1 has the gradient of `dft`.

    Want it when some labels are wrong: unlikely tokens count less, the more so the larger q.

    Source: Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
    NeurIPS 2018 (arXiv 1805.07836), applied to tokens.
    """

    q: Positive = 0.7  # Exponent of p in the factor, as in the paper; 1 is DFT's gradient.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """`(1 - p^q) / q`."""
        return gce_loss(logprob, q=self.q)
