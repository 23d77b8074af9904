"""BCO and unpaired APO: right and wrong texts that need not come in pairs, each classified by its own reward."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Running, Sums
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

    Formula: the mean over texts of `bco_loss`. The shift is the mean reward of all texts that the run was trained on so
    far, right and wrong alike and the batch included, as in TRL (`shift="running"`), or that of the batch ("batch"): it
    keeps the classifier from spending itself on a constant.

    Want it when right and wrong texts do not come in pairs. The running mean is part of the training state: a resumed
    run goes on with it, and held-out losses have it. `kind="apo_zero"` is the cheap KTO: no statistics, no shift.

    Needs `extras["segment_polarity"]` `[*B, S]`: see `mtjax.objectives.kto.Kto`, whose metrics it has, and `shift`.

    Source: Jung et al., "Binary Classifier Optimization for Large Language Model Alignment", 2024 (arXiv 2404.04656);
    apo_zero: D'Oosterlinck et al., "Anchored Preference Optimization", 2024 (arXiv 2408.06266), unpaired as in TRL.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too
    needs_reference = True

    beta: Positive = 0.1  # Scale of the reward; 0.01 in the paper.
    kind: Literal["bco", "apo_zero"] = "bco"  # Cross-entropy of the classifier, or APO's zero form for single texts.
    shift: Literal["running", "batch", "none"] = "running"
    """bco: what is subtracted from rewards: their mean over the training so far, or in the batch, or nothing."""
    right_weight: NonNegative = 1.0  # How much a right text counts.
    wrong_weight: NonNegative = 1.0  # How much a wrong text counts.

    @property
    def note(self) -> str:
        """How the shift differs from TRL's."""
        shifted = self._shifts and self.shift == "batch"
        return (
            "bco with the batch's mean reward as shift; TRL keeps a running mean over the training, "
            "--objective.shift=running"
            if shifted
            else ""
        )

    @property
    def _shifts(self) -> bool:
        return self.kind == "bco" and self.shift != "none"

    @property
    def running(self) -> tuple[str, ...]:
        """The mean log-ratio of the training so far, and the number of its texts, where the shift is that."""
        return ("logratio_mean", "logratio_count") if self._shifts and self.shift == "running" else ()

    @staticmethod
    def advance(running: Mapping[str, Any], found: Mapping[str, Mean]) -> dict[str, Any]:
        """The running mean with another batch, every text of the training counting alike."""
        batch, mean = found["logratio"], running["logratio_mean"]
        count = running["logratio_count"] + batch.count
        mean = mean + (batch.total - batch.count * mean) / jnp.maximum(count, 1)
        return {"logratio_mean": mean, "logratio_count": count}

    @property
    def at_reference(self) -> float | None:
        """The loss where policy and reference agree, log 2 or 1/2 times the weight; None where the weights differ."""
        if self.right_weight != self.wrong_weight:
            return None
        return self.right_weight * (0.5 if self.kind == "apo_zero" else math.log(2))

    @property
    def statistics(self) -> Callable[..., dict[str, Mean]]:
        """The batch's log-ratios as one `Mean`, where their mean is the shift."""
        if not self._shifts:
            raise AttributeError("statistics")
        return self._logratios

    def _logratios(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        ours = jax.lax.stop_gradient(sequences.sequence_scores(policy.scores(batch), batch))
        theirs = sequences.reference_scores(reference, batch, "bco")
        return {"logratio": sequences.mean_of(ours.logprob - theirs.logprob, ours.live)}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None,
        statistics: Sums = None, running: Running = None,
    ) -> Outcome:  # fmt: skip
        """The loss of the batch, and what to watch; without `running` and `statistics` the shift is this batch's."""
        shift = jnp.float32(0)
        if running is not None:
            shift = self.beta * running["logratio_mean"]
        elif self._shifts:
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
