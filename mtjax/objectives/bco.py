"""BCO and unpaired APO: right and wrong texts that need not come in pairs, each classified by its own reward."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Sums
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def bco_loss(
    logratio: ArrayLike, right: ArrayLike, *, beta: ArrayLike, shift: ArrayLike = 0.0, kind: str = "bco"
) -> Float[Array, "..."]:
    """The loss of right and wrong texts, elementwise, with the reward `r = beta logratio`.

    - bco: `-log sigmoid(r - shift)` where right, `-log sigmoid(shift - r)` where wrong; the shift gets no gradient.
    - apo_zero: `1 - sigmoid(r)` where right, `sigmoid(r)` where wrong: KTO with its point of reference at 0.

    >>> round(float(bco_loss(2.0, 1, beta=0.5)), 4)  # -log sigmoid(1)
    0.3133
    """
    sign = jnp.where(jnp.asarray(right) > 0.5, 1.0, -1.0)
    reward = wide(beta) * wide(logratio)
    if kind == "apo_zero":
        return sigmoid(-sign * reward)
    return -log_sigmoid(sign * (reward - jax.lax.stop_gradient(wide(shift))))


@base.OBJECTIVES.register("bco")
@dataclasses.dataclass(frozen=True)
class Bco(base.Settings):
    """Binary classifier optimisation: the reward of a text is the logit of its being right.

    Formula: the mean over texts of `bco_loss`; with `shift="batch"` the shift is the mean reward of the batch, right
    and wrong texts alike, which keeps the classifier from spending itself on a constant.

    Want it when right and wrong texts do not come in pairs. TRL's shift is a running mean over all rewards of the
    training, with which the first step here agrees. `kind="apo_zero"` is the cheap KTO: no statistics, no shift.

    Needs `extras["segment_polarity"]` `[*B, S]`: see `mtjax.objectives.kto.Kto`, whose metrics it has, and `shift`.

    Source: Jung et al., "Binary Classifier Optimization for Large Language Model Alignment", 2024 (arXiv 2404.04656);
    apo_zero: D'Oosterlinck et al., "Anchored Preference Optimization", 2024 (arXiv 2408.06266), unpaired as in TRL.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too
    needs_reference = True

    beta: Positive = 0.1  # Scale of the reward; 0.01 in the paper.
    kind: Literal["bco", "apo_zero"] = "bco"  # Cross-entropy of the classifier, or APO's zero form for single texts.
    shift: Literal["batch", "none"] = "batch"  # bco: what is subtracted from rewards: their mean in the batch, or 0.
    right_weight: NonNegative = 1.0  # How much a right text counts.
    wrong_weight: NonNegative = 1.0  # How much a wrong text counts.

    @property
    def note(self) -> str:
        """How the shift differs from TRL's."""
        shifted = self.kind == "bco" and self.shift == "batch"
        return (
            "bco with the batch's mean reward as shift; TRL keeps a running mean over the training" if shifted else ""
        )

    @property
    def at_reference(self) -> float | None:
        """The loss where policy and reference agree, log 2 or 1/2 times the weight; None where the weights differ."""
        if self.right_weight != self.wrong_weight:
            return None
        return self.right_weight * (0.5 if self.kind == "apo_zero" else math.log(2))

    @property
    def statistics(self) -> Callable[..., dict[str, Mean]]:
        """The batch's log-ratios as one `Mean`, where their mean is the shift."""
        if self.kind != "bco" or self.shift != "batch":
            raise AttributeError("statistics")
        return self._logratios

    def _logratios(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        ours = jax.lax.stop_gradient(sequences.sequence_scores(policy.scores(batch), batch))
        theirs = sequences.reference_scores(reference, batch, "bco")
        return {"logratio": sequences.mean_of(ours.logprob - theirs.logprob, ours.live)}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the shift is that of this batch alone."""
        shift = jnp.float32(0)
        if self.kind == "bco" and self.shift == "batch":
            known = self._logratios(policy, batch, reference=reference) if statistics is None else statistics
            shift = jax.lax.stop_gradient(self.beta * known["logratio"].value)
        right = sequences.is_right(batch, "bco")
        ours = sequences.sequence_scores(policy.scores(batch), batch)
        logratio = ours.logprob - sequences.reference_scores(reference, batch, "bco").logprob
        weight = jnp.where(right, jnp.float32(self.right_weight), jnp.float32(self.wrong_weight))
        loss = weight * bco_loss(logratio, right, beta=self.beta, shift=shift, kind=self.kind)
        total = sequences.mean_of(loss, ours.live)
        metrics = sequences.polarity_metrics(ours, self.beta * logratio, right)
        return total, metrics | {"shift": Mean(shift * total.count, total.count)}
