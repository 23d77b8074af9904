"""NPO: negative preference optimisation, making wrong texts unlikely without falling over."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def npo_loss(logratio: ArrayLike, *, beta: ArrayLike) -> Float[Array, "..."]:
    """`-2 / beta * log sigmoid(-beta * logratio)`, elementwise; `2 / beta * log 2` at the reference.

    Its slope is `2 sigmoid(beta logratio)`: 1 at the reference, and falling as the text gets less likely than it was.

    >>> round(float(npo_loss(0.0, beta=0.1)), 4)  # 20 log 2
    13.8629

    Args:
        logratio: `log pi(y | x) - log pi_ref(y | x)` of wrong texts, in nats, any shape.
        beta: small is nearly gradient ascent, > 0.
    """
    beta = wide(beta)
    return -2 / beta * jax.nn.log_sigmoid(-beta * wide(logratio))


@base.OBJECTIVES.register("npo")
@dataclasses.dataclass(frozen=True)
class Npo(base.Settings):
    """Negative preference optimisation: unlearn wrong texts, relative to a reference; right ones only hold.

    Formula: `(sum_wrong npo_loss(logratio) + nll_weight * sum_right nll) / (n_wrong + nll_weight * n_right)`, where
    `nll` is a right text's mean per token. At `nll_weight=0` it is NPO alone and right texts count nowhere.

    Want it when there are wrong texts to forget and no right ones to set against them; with `nll_weight` above 0 right
    texts keep the rest of the model in place.

    Needs `extras["segment_polarity"]` `[*B, S]`, 1 right and 0 wrong: single sequences `(B, T)` without a prefix that
    gives them away (task `completion` with both polarities), or packed pairs `(B, 2, T)`, whose sides count apart.

    Metrics: log-probability and reward (`beta logratio`) of right and wrong texts apart, `wrong_share`.

    Source: Zhang et al., "Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning", 2024
    (arXiv 2404.05868). How right texts are averaged with wrong ones is ours.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too
    needs_reference = True

    beta: Positive = 0.1  # How soon forgetting fades once a text is less likely than under the reference.
    nll_weight: NonNegative = 0.0  # Weight of a right text's cross-entropy (mean per token) beside a wrong text.

    @property
    def at_reference(self) -> float | None:
        """`2 / beta * log 2`, the loss where policy and reference agree; None with right texts in it."""
        return None if self.nll_weight else 2 / self.beta * math.log(2)

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        right = sequences.is_right(batch, "npo")
        ours = sequences.sequence_scores(policy.scores(batch), batch)
        logratio = ours.logprob - sequences.reference_scores(reference, batch, "npo").logprob
        wrong_loss = sequences.mean_of(npo_loss(logratio, beta=self.beta), ours.live & ~right)
        right_loss = sequences.mean_of(-ours.mean_logprob, ours.live & right)
        loss = Mean(*(jnp.asarray(w + self.nll_weight * r) for w, r in zip(wrong_loss, right_loss, strict=True)))
        return loss, sequences.polarity_metrics(ours, self.beta * logratio, right)
