"""EAFT: each token's cross-entropy times the entropy of its prediction."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import NonNegative
from mtjax.objectives.confidence import TokenLoss
from mtjax.types import Batch, Policy, TokenScores
from mtjax.validation import PositiveInt


def top_entropy(logits: Float[Array, "*N V"], count: int) -> Float[Array, "*N"]:
    """Entropy in nats of the `count` most likely tokens, renormalised, or of all where there are fewer; no gradient.

    >>> round(float(top_entropy(jnp.array([9.0, 9.0, 0.0]), 2)), 4)  # log 2
    0.6931
    """
    logits = jax.lax.stop_gradient(logits).astype(jnp.float32)
    logprob = jax.nn.log_softmax(jax.lax.top_k(logits, min(count, logits.shape[-1]))[0], axis=-1)
    return -jnp.sum(jnp.exp(logprob) * jnp.maximum(logprob, -1e30), axis=-1)


@base.OBJECTIVES.register("eaft")
@dataclasses.dataclass(frozen=True)
class Eaft(TokenLoss):
    """Entropy-adaptive fine-tuning: learn where the model is undecided, and leave its confident predictions alone.

    Formula: `-sum_t w_t sg[e_t] log p_t / sum_t w_t`; e is `(H / 3)^alpha` with the entropy H of the `top_k` most
    likely tokens (`top_k`, LLaMA-Factory's, merged by the authors; 3 stands for log 20), `H^alpha` (`axolotl`), or the
    entropy of all tokens over log V (`exact`).

    Want it when fine-tuning overwrites what the model knows: a token of low probability in a prediction of low entropy
    is a conflict, and counts little; one of high entropy is an open question. The factors of `axolotl` are three times
    as large.

    Source: "Entropy-Adaptive Fine-Tuning", 2026 (arXiv 2601.02151).
    """

    form: Literal["top_k", "axolotl", "exact"] = "top_k"  # How the entropy is measured and scaled.
    top_k: PositiveInt = 20  # Of how many tokens, in the forms top_k and axolotl.
    alpha: NonNegative = 1.0  # Exponent of the factor; 0 is cross-entropy.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """`-sg[e] log p`."""
        if self.alpha == 0:
            return -logprob
        if self.form == "exact":  # the vocabulary is known where its logits are
            share = lambda logits, *_: top_entropy(logits, logits.shape[-1]) / math.log(logits.shape[-1])
        else:
            share = lambda logits, *_: top_entropy(logits, self.top_k) / (3 if self.form == "top_k" else 1)
        factor = jax.lax.stop_gradient(policy.map_logits(share, batch))
        return -(jnp.maximum(factor, 0) ** self.alpha) * logprob
