"""PSFT: fine-tuning in which no token may become likelier than a factor above the policy as it was."""

import dataclasses
import math

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def psft_loss(logratio: ArrayLike, *, clip: base.Number) -> Float[Array, "..."]:
    """`-min(r, 1 + clip)` of `logratio = log r`, elementwise: PPO's clipped surrogate at advantage 1, negated.

    The lower clip of PPO never acts at advantage 1. The slope is -r below the clip and 0 above it.

    >>> [round(float(psft_loss(x, clip=0.28)), 4) for x in (0.0, 1.0)]
    [-1.0, -1.28]
    """
    return -jnp.exp(jnp.minimum(wide(logratio), math.log1p(clip)))


@base.OBJECTIVES.register("psft")
@dataclasses.dataclass(frozen=True)
class Psft(base.Settings):
    """Proximal supervised fine-tuning: cross-entropy within a trust region around the old policy.

    Formula: `sum_t w_t (-min(r_t, 1 + clip)) / sum_t w_t`, `r_t = pi(y_t) / pi_old(y_t)`. Where policy and old policy
    agree, the gradient is exactly cross-entropy's and the loss is -1; a token that has risen by the factor `1 + clip`
    is left alone until the old policy is renewed.

    Want it when fine-tuning narrows the model, or is followed by reinforcement learning. The old policy is the
    reference: set `reference.refresh_every` to the number of updates of one outer batch (8 in the released script).
    Against a fixed reference it is fine-tuning with a bound on how far each token may go. Watch `nll` and `clipped`;
    with `refresh_every=1` nothing is ever clipped, and this is `nll`.

    Metrics: `entropy`, `top1`, `nll`, `clipped` (share of targets at the clip), and `ratio`.

    Source: "Proximal Supervised Fine-Tuning", 2025 (arXiv 2508.17784), and its code.
    """

    needs_reference = True
    at_reference = -1.0

    clip: NonNegative = 0.28  # How much likelier than under the old policy a token may become, as a share.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores = policy.scores(batch)
        old = sequences.scores_of(reference, batch, "psft").logprob
        # A token of weight 0 may be impossible under both, and inf - inf is NaN.
        live = jnp.asarray(batch.weights) != 0
        logratio = jnp.where(live, scores.logprob, 0) - jnp.where(live, old, 0)
        nll, metrics = base.weighted_nll(scores, batch, batch.weights)
        mean = lambda values: base.weighted_nll(scores._replace(logprob=-values), batch, batch.weights)[0]
        clipped = mean(jnp.asarray(logratio >= math.log1p(self.clip), jnp.float32))
        ratio: Mean = mean(jnp.exp(jnp.minimum(logratio, 10.0)))
        return mean(psft_loss(logratio, clip=self.clip)), metrics | {"nll": nll, "clipped": clipped, "ratio": ratio}
