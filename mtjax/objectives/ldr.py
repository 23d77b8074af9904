"""LDR: the worst case over distributions on the vocabulary, a family from the largest margin to cross-entropy."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import NonNegative, Positive
from mtjax.objectives.confidence import TokenLoss
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Policy, TokenScores
from mtjax.validation import PositiveInt


def margins(logits: Float[Array, "C V"], tokens: Array, margin: base.Number) -> Float[Array, "C V"]:
    """`f_v - f_y + margin` of every other token v, and 0 at the label y, in float32."""
    logits = wide(logits)
    gap = logits - jnp.take_along_axis(logits, tokens[:, None], axis=-1)
    return jnp.where(jnp.arange(logits.shape[-1]) == tokens[:, None], 0, gap + margin)


def log_size(logits: Float[Array, "C V"]) -> Float[Array, " C"]:
    """Logarithm of how many tokens are possible: those with a logit above -inf."""
    return jnp.log(jnp.sum(logits > -jnp.inf, axis=-1).astype(wide(logits).dtype))


def ldr_kl(m: Float[Array, "C V"], size: Float[Array, " C"], temperature: Array | base.Number) -> Float[Array, " C"]:
    """`lambda (logsumexp(m / lambda) - log K)` of margins m: the worst mean of m within a KL penalty to uniform.

    >>> round(float(ldr_kl(jnp.array([[1.5, -1.5, 0.0, -0.5]]), jnp.log(jnp.array([4.0])), 1.0)[0]), 6)
    0.456055
    """
    lam = jnp.asarray(temperature, m.dtype)
    return lam * (jax.nn.logsumexp(m / lam[..., None], axis=-1) - size)


@base.OBJECTIVES.register("ldr")
@dataclasses.dataclass(frozen=True)
class Ldr(TokenLoss):
    """Label-distributionally robust loss of tokens.

    Formula: `sum_t w_t ldr_t / sum_t w_t`, with margins `m_v = f_v - f_y + margin [v != y]` of the logits f:

    - kl: `lambda log(mean_v exp(m_v / lambda))`, lambda being `temperature`. 1 and margin 0 is cross-entropy minus
      log V; towards 0 it is the largest margin (Crammer-Singer); large values are nearly symmetric in the labels, which
      resists wrong ones and learns slowly.
    - top_k: the mean of the `k` largest margins.

    Want it when labels are wrong now and then and one temperature fits all of them; `aldr` chooses it token by token.
    The logits are not normalised, as the source does for its 10 to 1,000 classes: at a vocabulary of thousands the
    temperature would mean something else. Watch `nll`.

    Source: Zhu, Ying and Yang, "Label Distributionally Robust Losses for Multi-class Classification", ICML 2023 (arXiv
    2112.14869). LDR-k is known to us second-hand.
    """

    kind: Literal["kl", "top_k"] = "kl"  # Which distributions the worst case is over.
    temperature: Positive = 1.0  # kl: lambda.
    margin: NonNegative = 0.1  # Added to the margins of all tokens but the label.
    k: PositiveInt = 5  # top_k: of how many margins the mean is taken.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """The loss of each token, from the logits."""

        def loss(logits: Array, tokens: Array, _: dict[str, Array]) -> Array:
            m = margins(logits, tokens, self.margin)
            if self.kind == "kl":
                return ldr_kl(m, log_size(logits), self.temperature)
            return jnp.mean(jax.lax.top_k(m, min(self.k, m.shape[-1]))[0], axis=-1)

        found: Array = policy.map_logits(loss, batch)
        return found
