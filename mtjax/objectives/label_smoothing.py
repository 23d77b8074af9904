"""Label smoothing: cross-entropy with a share of the target on every token of the vocabulary."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Ge, Lt
from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.confidence import TokenLoss
from mtjax.types import Batch, Policy, TokenScores


def mean_logprob(logits: Float[Array, "*N V"]) -> Float[Array, "*N"]:
    """Mean over the vocabulary of `log softmax(logits)`, in float32; tokens that cannot be said (-inf) do not count.

    >>> round(float(mean_logprob(jnp.zeros(4))), 4)  # -log 4
    -1.3863
    """
    logits = logits.astype(jnp.float32)
    possible = logits > -jnp.inf
    mean = jnp.sum(jnp.where(possible, logits, 0), axis=-1) / jnp.sum(possible, axis=-1)
    return mean - jax.nn.logsumexp(logits, axis=-1)


@base.OBJECTIVES.register("label_smoothing")
@dataclasses.dataclass(frozen=True)
class LabelSmoothing(TokenLoss):
    """Cross-entropy with smoothed labels, uniform over all V tokens, the target included.

    Formula: `sum_t w_t ((1 - epsilon) (-log p_t) + epsilon mean_v (-log p_tv)) / sum_t w_t`.

    Want it against overconfidence, with a small epsilon: at a vocabulary of 32,000 the second term is 10 to 20 nats, so
    that 0.1 adds 1 to 2 to the loss. Not the `label_smoothing` of `dpo`.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (arXiv 1512.00567),
    as defined in PyTorch.
    """

    epsilon: Annotated[base.Number, Ge(0), Lt(1)] = 0.1  # Share of the target that is spread; 0 is cross-entropy.

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """The smoothed cross-entropy."""
        spread = policy.map_logits(lambda logits, *_: mean_logprob(logits), batch)
        return -(1 - self.epsilon) * logprob - self.epsilon * spread
