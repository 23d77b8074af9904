"""z-loss: keeps the logits from drifting."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.regularizers.base import REGULARIZERS, token_mean
from mtjax.types import Batch, Mean, Policy


def squared_log_partition(logits: Float[Array, "*N V"]) -> Float[Array, "*N"]:
    """`logsumexp(logits)^2` over the vocabulary, in float32; 0 where the logits are log-probabilities.

    >>> [round(float(z), 4) for z in squared_log_partition(jnp.array([[2.0, 0, 0, 0], [0, 1, 0, -1]]))]
    [5.4791, 2.6456]
    """
    return jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1) ** 2


@REGULARIZERS.register("z_loss")
@dataclasses.dataclass(frozen=True)
class ZLoss(base.Settings):
    """Mean squared log-partition function of the target tokens.

    Formula: `weight * mean_t (log sum_v exp z_tv)^2` over target tokens t, z being the logits in float32.

    Want it for long training in bfloat16 with a large vocabulary, where the logits may drift by a constant that the
    cross-entropy does not see, and lose precision. It hardly changes what the model predicts.

    Source: Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", JMLR 2023, section 5 (arXiv 2204.02311).
    """

    weight: base.NonNegative = 1e-4  # Factor on the mean; 1e-4 in the paper.

    def __call__(self, policy: Policy, batch: Batch) -> Mean:
        return token_mean(policy.map_logits(lambda logits, tokens, extras: squared_log_partition(logits), batch), batch)
