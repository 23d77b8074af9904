"""Losses of single tokens that weigh `-log p` by confidence: what they share. Each loss is a file of its own.

The factor of a loss is what it makes of the gradient of `-log p`: 1 for cross-entropy, p for DFT, nearly 0 for tokens
that a focal loss finds easy. See docs/confidence.md for the factors side by side.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.base import Key, Outcome
from mtjax.types import Batch, Policy, TokenScores


class TokenLoss(base.Settings):
    """Base of a loss that is a mean over target tokens, `sum_t w_t loss_t / sum_t w_t`; a subclass gives `losses`.

    The count is that of cross-entropy, whatever the factors are, so that learning rates stay comparable. Metrics:
    `entropy` and `top1`, and `nll`, the cross-entropy of the same tokens, since values of the loss are not comparable.
    """

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """The loss of each token. `logprob` is `scores.logprob` with -1 where a token has no weight."""
        raise NotImplementedError

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores = policy.scores(batch)
        # A token of weight 0 may be impossible; its infinite log-probability would make a slope of 0 * inf.
        logprob = jnp.where(jnp.asarray(batch.weights) != 0, scores.logprob, -1.0)
        losses = self.losses(logprob, scores, policy, batch, reference)
        nll, metrics = base.weighted_nll(scores, batch, batch.weights)
        loss, _ = base.weighted_nll(scores._replace(logprob=-losses), batch, batch.weights)
        return loss, metrics | {"nll": nll}


def both_rows(policy: Policy, batch: Batch, reference: Policy | None, fn: Any, objective: str) -> Float[Array, "*B T"]:
    """`fn(logits of the policy [C, V], of the reference)` by chunks of positions; InputError without a reference."""
    if reference is None:
        raise InputError(f"objective '{objective}' compares with a reference policy, got None; pass reference=...")
    return policy.map_logits(lambda logits, *_: fn(*logits), batch, also=(reference,))


def times_probability(logprob: ArrayLike) -> Float[Array, "..."]:
    """`-sg[p] log p` of `logprob = log p`, elementwise: 0 for an impossible token. Its gradient is that of -p.

    >>> round(float(times_probability(-0.6931472)), 4)  # p = 1/2: log 2 / 2
    0.3466
    """
    logprob = jnp.asarray(logprob)
    probability = jax.lax.stop_gradient(jnp.exp(logprob))
    return -jnp.where(probability > 0, probability * jnp.where(probability > 0, logprob, 0), 0)
