"""What objectives of right and wrong texts share: two losses in one mean, and the policy that wrote them."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Outcome
from mtjax.types import Batch, Mean, Policy, TokenScores

Sampler = Literal["reference", "recorded"]


def right_and_wrong(
    scores: TokenScores, wrong_losses: Float[Array, "*B T"], batch: Batch, wrong_weight: base.Number, name: str
) -> Outcome:
    """Cross-entropy on right texts and `wrong_losses` on wrong ones as one mean per token, and what to watch.

    Formula: `sum_t v_t l_t / sum_t v_t`, `v_t` being `w_t` in right texts and `wrong_weight w_t` in wrong ones.
    """
    polarity = jnp.asarray(sequences.is_right(batch, name), jnp.float32)
    right = base.spread(polarity, jnp.asarray(batch.segments))
    _, metrics = base.weighted_nll(scores, batch, batch.weights)
    wrong = scores._replace(logprob=-wrong_losses)
    right_loss, _ = base.weighted_nll(scores, batch, batch.weights * right)
    wrong_nll, _ = base.weighted_nll(scores, batch, batch.weights * (1 - right))
    wrong_loss, _ = base.weighted_nll(wrong, batch, batch.weights * (1 - right))
    loss = Mean(right_loss.total + wrong_weight * wrong_loss.total, right_loss.count + wrong_weight * wrong_loss.count)
    metrics |= {"nll_right": right_loss, "nll_wrong": wrong_nll, f"{name}_wrong": wrong_loss}
    metrics["wrong_share"] = Mean(wrong_loss.count, wrong_loss.count + right_loss.count)
    ours = sequences.sequence_scores(scores, batch)
    return loss, metrics | sequences.confidence(ours.logprob, ours.live & (polarity > 0.5))


class WithSampler(base.Settings):
    """Base of an objective that compares with the policy that wrote the texts; a subclass has the field `sampler`."""

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too
    sampler: Sampler = "reference"

    @property
    def needs_reference(self) -> bool:  # type: ignore[override]
        """Whether the policy that wrote the texts is the run's reference."""
        return self.sampler == "reference"


def log_ratio(
    scores: TokenScores, batch: Batch, reference: Policy | None, sampler: Sampler, name: str
) -> Float[Array, "*B T"]:
    """`log pi(y_t) - log mu(y_t)` of each target, 0 elsewhere; mu is the reference, or `extras["sampled_logprob"]`.

    Gradient flows through pi alone. InputError where there is neither.
    """
    if sampler == "reference":
        written = sequences.scores_of(reference, batch, name).logprob
    elif "sampled_logprob" in batch.extras:
        written = jax.lax.stop_gradient(jnp.asarray(batch.extras["sampled_logprob"], jnp.float32))
    else:
        raise InputError(
            f"objective '{name}' with sampler='recorded' needs extras['sampled_logprob'], got {sorted(batch.extras)}; "
            "train on records with the log-probabilities of their tokens, or set objective.sampler=reference"
        )
    live = (jnp.asarray(batch.weights) != 0) & (base.is_target(jnp.asarray(batch.segments)) > 0)
    return jnp.where(live, jnp.where(live, scores.logprob, 0) - jnp.where(live, written, 0), 0)


def kept_texts(batch: Batch, kept: Float[Array, "*B S"]) -> Batch:
    """The batch without the targets of texts that are not kept (0)."""
    weights = jnp.asarray(batch.weights, jnp.float32)
    return batch._replace(weights=weights * base.spread(kept, jnp.asarray(batch.segments)))
