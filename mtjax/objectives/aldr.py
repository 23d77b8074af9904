"""ALDR-KL: the label-distributionally robust loss whose temperature each token chooses for itself."""

import dataclasses
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Gt, Lt
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.base import NonNegative, Positive
from mtjax.objectives.confidence import TokenLoss
from mtjax.objectives.ldr import ldr_kl, log_size, margins
from mtjax.types import Batch, Policy, TokenScores

HALVINGS = 25  # of an interval no longer than the temperature: float32 is exact to 2^-24


def aldr_temperature(
    m: Float[Array, "C V"], size: Float[Array, " C"], temperature: base.Number, alpha: base.Number
) -> Float[Array, " C"]:
    """The lambda of each row: `lambda = lambda0 - lambda0 KL(q || uniform) / (alpha log K)`, `q = softmax(m / lambda)`.

    Found by bisection in `[lambda0 (1 - 1 / alpha), lambda0]`, where its two sides change order; without gradient.
    """
    m, size = jax.lax.stop_gradient((m, size))

    def excess(lam: Array) -> Array:
        log_q = jax.nn.log_softmax(m / lam[:, None], axis=-1)
        kl = size + jnp.sum(jnp.exp(log_q) * jnp.maximum(log_q, -1e30), axis=-1)
        return temperature - temperature * kl / (alpha * size) - lam

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = excess(middle) >= 0
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    start = jnp.zeros_like(size) + jnp.asarray(temperature * (1 - 1 / alpha), size.dtype)
    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (start, jnp.full_like(size, temperature)))
    return (low + high) / 2


def aldr_loss(
    m: Float[Array, "C V"], size: Float[Array, " C"], *, temperature: base.Number, alpha: base.Number
) -> Float[Array, " C"]:
    """`ldr_kl(m) - alpha log K (lambda - lambda0)^2 / (2 lambda0)` at the lambda of `aldr_temperature`."""
    lam = aldr_temperature(m, size, temperature, alpha)
    return ldr_kl(m, size, lam) - alpha * size * (lam - temperature) ** 2 / (2 * temperature)


@base.OBJECTIVES.register("aldr")
@dataclasses.dataclass(frozen=True)
class Aldr(TokenLoss):
    """Adaptive label-distributionally robust loss (ALDR-KL): noisy tokens get a high temperature, clear ones a low one.

    Formula: `sum_t w_t aldr_t / sum_t w_t`, `aldr = max over lambda of ldr_kl - alpha log V (lambda - lambda0)^2 / (2
    lambda0)`, with lambda0 = `temperature`. The gradient is that of `ldr` at each token's own lambda, which lies
    between `lambda0 (1 - 1 / alpha)` and lambda0: low where one other token is a strong competitor.

    Want it when some labels are wrong and you do not know how many. The authors keep one lambda per example and move it
    by one step a visit; here every token has its own, solved for at each step, which keeps no state and costs some 25
    passes over each chunk of logits. `ldr` does without them. Watch `nll`.

    Source: Zhu, Ying and Yang, "Label Distributionally Robust Losses for Multi-class Classification", ICML 2023 (arXiv
    2112.14869).
    """

    temperature: Positive = 1.0  # lambda0, the largest temperature.
    alpha: Annotated[base.Number, Gt(1), Lt(math.inf)] = 2.0  # Weight of the penalty; the smallest is 1 - 1 / alpha.
    margin: NonNegative = 0.1  # Added to the margins of all tokens but the label.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """The loss of each token, from the logits."""

        def loss(logits: Array, tokens: Array, _: dict[str, Array]) -> Array:
            m = margins(logits, tokens, self.margin)
            return aldr_loss(m, log_size(logits), temperature=self.temperature, alpha=self.alpha)

        found: Array = policy.map_logits(loss, batch)
        return found
