"""Entropy bonus: keeps the distribution over next tokens from becoming too narrow."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.regularizers.base import REGULARIZERS, token_mean
from mtjax.types import Batch, Mean, Policy


def entropy(logits: Float[Array, "*N V"]) -> Float[Array, "*N"]:
    """Entropy in nats of `softmax(logits)`, in float32, with its gradient; a logit of -inf adds 0.

    >>> round(float(entropy(jnp.zeros(8))), 4)  # log 8
    2.0794
    """
    logprob = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    possible = logprob > -jnp.inf
    logprob = jnp.where(possible, logprob, 0)
    return -jnp.sum(jnp.where(possible, jnp.exp(logprob), 0) * logprob, axis=-1)


@REGULARIZERS.register("entropy_bonus")
@dataclasses.dataclass(frozen=True)
class EntropyBonus(base.Settings):
    """Negative mean entropy of the target tokens' predictions.

    Formula: `-weight * mean_t H_t`, `H_t = -sum_v p_tv log p_tv` over target tokens t, in nats. Unlike the metric
    `entropy`, it has a gradient.

    Want it when fine-tuning narrows the model, so that many samples give the same answer: a higher entropy keeps
    coverage (pass@k) at some cost in pass@1.

    Source: Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017 (arXiv
    1701.06548).
    """

    weight: base.NonNegative = 0.01  # Factor on the mean entropy.

    def __call__(self, policy: Policy, batch: Batch) -> Mean:
        return token_mean(policy.map_logits(lambda logits, tokens, extras: -entropy(logits), batch), batch)
