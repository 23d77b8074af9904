"""GEM: the label against what the model would say at a lower temperature, which keeps its diversity."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import Positive
from mtjax.objectives.confidence import TokenLoss
from mtjax.types import Batch, Policy, TokenScores


def gem_loss(logits: Float[Array, "C V"], tokens: Any, *, beta: base.Number, kind: str) -> Float[Array, " C"]:
    """`-sum_v sg[q_v w_v] (log p_y - log p_v)` of each row, `q = softmax(logits / beta)`, in float32.

    w is 1 (`linear`) or `sigmoid(0.01 (z_v - z_y))` (`logsigmoid`). A logit of -inf adds 0.

    >>> round(float(gem_loss(jnp.array([[2.0, 1, 0, -1]]), jnp.array([3]), beta=0.7, kind="linear")[0]), 4)
    2.6981
    """
    logits = logits.astype(jnp.float32)
    gap = logits - jnp.take_along_axis(logits, tokens[:, None], axis=-1)  # log p_v - log p_y
    weight = jax.lax.stop_gradient(jax.nn.softmax(logits / beta, axis=-1))
    if kind == "logsigmoid":
        weight = weight * jax.lax.stop_gradient(jax.nn.sigmoid(0.01 * gap))
    return jnp.sum(jnp.where(weight > 0, weight * jnp.where(weight > 0, gap, 0), 0), axis=-1)


@base.OBJECTIVES.register("gem")
@dataclasses.dataclass(frozen=True)
class Gem(TokenLoss):
    """Game-theoretic entropy maximisation: fine-tuning that keeps diversity.

    Formula: `sum_t w_t gem_loss_t / sum_t w_t`. The linear kind has exactly the gradient of `beta CE(logits / beta)`:
    training at temperature beta, and sampling at 1. The kind logsigmoid, the paper's, has about half of it.

    Want it when many samples are drawn from the tuned model (pass@k, voting), which cross-entropy makes too sure.
    Values may be negative: watch `nll`.

    Source: Li et al., "Preserving Diversity in Supervised Fine-Tuning of Large Language Models", ICLR 2025 (arXiv
    2408.16673), and its code.
    """

    beta: Positive = 0.7  # Temperature of what the label is compared with.
    kind: Literal["logsigmoid", "linear"] = "logsigmoid"  # Weight of each comparison.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """`gem_loss`, from the logits."""
        loss = lambda logits, tokens, _: gem_loss(logits, tokens, beta=self.beta, kind=self.kind)
        return policy.map_logits(loss, batch)
