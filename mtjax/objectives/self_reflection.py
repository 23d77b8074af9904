"""Self-reflection: hidden states of right solutions drawn together, and away from the student's own wrong ones."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Sums
from mtjax.types import Batch, Mean, Policy


def cosine(a: Float[Array, "*N D"], b: Float[Array, "*N D"]) -> Float[Array, "*N"]:
    """Cosine of the angle between two vectors, in float32; 0, without gradient, where one of them is 0.

    >>> round(float(cosine(jnp.array([3.0, 4.0]), jnp.array([4.0, 3.0]))), 4)
    0.96
    """
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    squares = jnp.sum(a * a, axis=-1) * jnp.sum(b * b, axis=-1)
    live = squares > 0
    return jnp.where(live, jnp.sum(a * b, axis=-1) / jnp.sqrt(jnp.where(live, squares, 1)), 0)


def triplet_loss(anchor: Array, positive: Array, negative: Array, *, margin: base.Number) -> Float[Array, "*N"]:
    """`max(0, margin - cos(anchor, positive) + cos(anchor, negative))`."""
    return jax.nn.relu(margin - cosine(anchor, positive) + cosine(anchor, negative))


@base.OBJECTIVES.register("self_reflection")
@dataclasses.dataclass(frozen=True)
class SelfReflection(base.Settings):
    """Likelihood of a right solution, and a triplet loss on the hidden states of right and wrong ones.

    Formula: `sum_t w_t (-log p_t) / n + ratio mean over triplets of max(0, margin - cos(h, h+) + cos(h, h-))`, with the
    targets of anchors, of which there are n (counted, not weighted), and the final hidden states h of the anchor, of
    another right solution and of a wrong one. h is that of a text's last token, or the mean over its targets
    (`pooling="mean"`). Triplets with a side missing are left out of the second term.

    Want it to learn from a small model's own wrong solutions without a negative likelihood. A margin of 1 on cosines
    leaves almost every triplet active: watch `active_share`.

    Needs the task `triplet`: batches `(B, 3, T)`. The mean counts targets of anchors.

    Metrics: `nll`, `triplet_loss`, `triplet_share` (of anchors that have one), `active_share`, `cosine_right` and
    `cosine_wrong`.

    Source: Wang et al., "Democratizing Reasoning Ability: Tailored Learning from Large Language Model", EMNLP 2023
    (arXiv 2310.13332), and its code. There the prompt is read without gradient and shared by the three texts; here the
    second term also reaches the prompt's tokens.
    """

    task = "triplet"

    ratio: NonNegative = 0.5  # Factor on the triplet loss.
    margin: NonNegative = 1.0  # How much closer the right solution is to be, in cosines.
    pooling: Literal["last", "mean"] = "last"  # Whose hidden state: the last token's, or the mean over targets.

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        """How many targets of anchors and how many triplets the batch has, as totals."""
        counts = (
            ("targets", jnp.sum(self._targets(batch))),
            ("triplets", jnp.sum(self._complete(batch), dtype=jnp.float32)),
        )
        return {name: Mean(count, count) for name, count in counts}

    def _targets(self, batch: Batch) -> Any:
        """1 at every target of an anchor."""
        shape = tuple(batch.tokens.shape)
        if len(shape) != 3 or shape[1] != 3:
            raise InputError(
                f"objective 'self_reflection' compares triplets: got tokens of shape {shape}, expected (B, 3, T); set "
                "data.task:triplet"
            )
        return (jnp.asarray(batch.weights)[:, 0] != 0) * base.is_target(jnp.asarray(batch.segments)[:, 0])

    def _complete(self, batch: Batch) -> Any:
        """Which triplets have a target on all three sides."""
        return jnp.all(sequences.live_texts(batch), axis=1)

    def _states(self, policy: Policy, batch: Batch) -> Any:
        """The hidden state of each text, `[B, 3, S, D]`, in float32."""
        hidden, segments = policy.hidden(batch).astype(jnp.float32), jnp.asarray(batch.segments)
        count, length = sequences.segment_count(batch), segments.shape[-1]
        if self.pooling == "last":
            own = segments[..., None] == jnp.arange(1, count + 1)
            place = jnp.max(jnp.where(own, jnp.arange(length)[:, None], 0), axis=-2)
            return jnp.take_along_axis(hidden, place[..., None], axis=-2)
        target = (jnp.asarray(batch.weights) != 0) * base.is_target(segments)
        own = (segments[..., None] == jnp.arange(1, count + 1)) * target[..., None]
        size = jnp.maximum(jnp.sum(own, axis=-2), 1)
        return jnp.einsum("bgts,bgtd->bgsd", own, hidden) / size[..., None]

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        targets, complete = self._targets(batch), self._complete(batch)
        known = self.statistics(policy, batch) if statistics is None else statistics
        number, triplets = known["targets"].total, known["triplets"].total
        anchor = jnp.zeros(batch.tokens.shape[1]).at[0].set(1.0)[:, None]
        nll, metrics = base.weighted_nll(policy.scores(batch), batch, jnp.asarray(batch.weights) * anchor)
        states = jnp.where(complete[:, None, :, None], self._states(policy, batch), 0)
        loss = triplet_loss(states[:, 0], states[:, 1], states[:, 2], margin=self.margin)
        triplet = sequences.mean_of(loss, complete)
        # In units of targets, so that one count serves both terms.
        total = nll.total + self.ratio * triplet.total * number / jnp.maximum(triplets, 1e-6)
        metrics |= {
            "nll": nll,
            "triplet_loss": triplet,
            "triplet_share": sequences.share_of(complete, sequences.live_texts(batch)[:, 0]),
            "active_share": sequences.share_of(loss > 0, complete),
            "cosine_right": sequences.mean_of(cosine(states[:, 0], states[:, 1]), complete),
            "cosine_wrong": sequences.mean_of(cosine(states[:, 0], states[:, 2]), complete),
        }
        return Mean(total, jnp.sum(targets)), metrics
