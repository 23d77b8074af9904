"""KTO: right and wrong texts that need not come in pairs, each against a point of reference."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Sums
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def kto_loss(
    logratio: ArrayLike,
    right: ArrayLike,
    z0: ArrayLike,
    *,
    beta: ArrayLike,
    right_weight: ArrayLike = 1.0,
    wrong_weight: ArrayLike = 1.0,
) -> Float[Array, "..."]:
    """The loss of right and wrong texts, elementwise.

    Formula: `right_weight * (1 - sigmoid(beta (logratio - z0)))` where right, and
    `wrong_weight * (1 - sigmoid(beta (z0 - logratio)))` where wrong. At `logratio = z0` half the weight.

    >>> round(float(kto_loss(2.0, 1, 0.0, beta=0.5)), 4)  # 1 - sigmoid(1)
    0.2689

    Args:
        logratio: `log pi(y | x) - log pi_ref(y | x)` in nats, any shape.
        right: 1 (or True) for right (desirable) texts, 0 for wrong ones.
        z0: the point of reference, >= 0; it gets no gradient.
        beta: how soon gains and losses saturate, > 0.
        right_weight, wrong_weight: the paper's lambda of either kind.
    """
    right = jnp.asarray(right) > 0.5
    gain = jnp.where(right, 1, -1) * (wide(logratio) - jax.lax.stop_gradient(wide(z0)))
    return jnp.where(right, wide(right_weight), wide(wrong_weight)) * jax.nn.sigmoid(-wide(beta) * gain)


@base.OBJECTIVES.register("kto")
@dataclasses.dataclass(frozen=True)
class Kto(base.Settings):
    """Kahneman-Tversky optimisation: raise right texts and lower wrong ones, less so the further they already are.

    Formula: the mean of `kto_loss` over texts, with `z0 = max(0, mean of the batch's log-ratios)`.

    Want it when right and wrong texts do not come in pairs, or are of unequal number: `right_weight * n_right` and
    `wrong_weight * n_wrong` should be alike.

    z0 stands for the divergence of policy and reference. The paper takes the mean log-ratio of mismatched texts (each
    prompt with the next one's answer), clipped at 0. Here it is the mean over the batch's own texts, right and wrong
    alike, clipped at 0: no second forward pass, and any split and order of a batch gives the same. Its drawback: texts
    in training move it directly, so it is larger where right ones have been raised.

    Needs `extras["segment_polarity"]` `[*B, S]`, 1 right and 0 wrong: single sequences `(B, T)` without a prefix that
    gives them away (task `completion` with both polarities), or packed pairs `(B, 2, T)`, whose sides count apart.

    Metrics: log-probability and reward (`beta logratio`) of right and wrong texts apart, `wrong_share`, `z0`.

    Source: Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", 2024 (arXiv 2402.01306).
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too
    needs_reference = True

    beta: Positive = 0.1  # How soon gains and losses saturate.
    right_weight: NonNegative = 1.0  # How much a right (desirable) text counts.
    wrong_weight: NonNegative = 1.0  # How much a wrong (undesirable) text counts.

    @property
    def note(self) -> str:
        """How z0 is estimated, which is not the paper's way."""
        return "kto with z0 from the batch's own texts; the paper and TRL take mismatched prompts and texts"

    @property
    def at_reference(self) -> float | None:
        """Half the weight of a text, the loss where policy and reference agree; None where the weights differ."""
        return self.right_weight / 2 if self.right_weight == self.wrong_weight else None

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        """The batch's log-ratios as one `Mean`, to be added over all of the batch before the loss."""
        ours = jax.lax.stop_gradient(sequences.sequence_scores(policy.scores(batch), batch))
        theirs = sequences.reference_scores(reference, batch, "kto")
        return {"logratio": sequences.mean_of(ours.logprob - theirs.logprob, ours.live)}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` z0 is that of this batch alone."""
        if statistics is None:
            statistics = self.statistics(policy, batch, reference=reference)
        z0 = jax.lax.stop_gradient(jnp.maximum(statistics["logratio"].value, 0))
        right = sequences.is_right(batch, "kto")
        ours = sequences.sequence_scores(policy.scores(batch), batch)
        logratio = ours.logprob - sequences.reference_scores(reference, batch, "kto").logprob
        weights = {"right_weight": self.right_weight, "wrong_weight": self.wrong_weight}
        loss = sequences.mean_of(kto_loss(logratio, right, z0, beta=self.beta, **weights), ours.live)
        metrics = sequences.polarity_metrics(ours, self.beta * logratio, right)
        return loss, metrics | {"z0": Mean(z0 * loss.count, loss.count)}
