"""ASFT: dynamic fine-tuning, or cross-entropy, anchored to the base model by a KL divergence on the same tokens."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import NonNegative
from mtjax.objectives.confidence import TokenLoss, both_rows, times_probability
from mtjax.types import Batch, Policy, TokenScores


def row_kl(first: Float[Array, "*N V"], second: Float[Array, "*N V"]) -> Float[Array, "*N"]:
    """`KL(softmax(first) || softmax(second))` in nats, in float32; a token of probability 0 in the first adds 0.

    >>> round(float(row_kl(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.log(3.0)]))), 4)  # log(2 / 3) / 2 + log 2 / 2
    0.1438
    """
    first, second = (jax.nn.log_softmax(one.astype(jnp.float32), axis=-1) for one in (first, second))
    possible = first > -jnp.inf
    gap = jnp.where(possible, jnp.where(possible, first, 0) - jnp.where(possible, second, 0), 0)
    return jnp.sum(jnp.exp(first) * gap, axis=-1)


@base.OBJECTIVES.register("asft")
@dataclasses.dataclass(frozen=True)
class Asft(TokenLoss):
    """Anchored supervised fine-tuning: DFT (or cross-entropy) with a KL divergence to the reference as an anchor.

    Formula: `sum_t w_t (l_t + anchor_weight KL_t) / sum_t w_t` with `l = -sg[p] log p` (`factor="dft"`) or `-log p`
    ("none", the mode sft+kl of the released code), and `KL = sum_v q_v (log q_v - log pi_v)` (`forward`, the released
    code's, q being the reference), or with q and pi exchanged (`reverse`).

    Want it when DFT drifts, or as a strong and simple baseline that keeps what the model could do. It reads the rows of
    both models, so cached log-probabilities of a reference do not serve.

    Source: "Anchored Supervised Fine-Tuning", 2025 (arXiv 2509.23753), and its code.
    """

    needs_reference = True

    anchor_weight: NonNegative = 0.1  # Factor on the divergence; 0.1 or 0.05 in the released scripts.
    factor: Literal["dft", "none"] = "dft"  # What is anchored: DFT, or plain cross-entropy.
    direction: Literal["forward", "reverse"] = "forward"  # Which model stands first in the divergence.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """`l + anchor_weight KL`."""

        def divergence(ours: Any, theirs: Any) -> Any:
            theirs = jax.lax.stop_gradient(theirs)
            return row_kl(theirs, ours) if self.direction == "forward" else row_kl(ours, theirs)

        anchor = both_rows(policy, batch, reference, divergence, "asft")
        return (times_probability(logprob) if self.factor == "dft" else -logprob) + self.anchor_weight * anchor
