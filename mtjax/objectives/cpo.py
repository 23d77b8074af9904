"""CPO and SLiC-HF: preference by log-probabilities without a reference, held by likelihood on the chosen text."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
from jax.nn import log_sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Sums
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def cpo_loss(
    chosen_logprob: ArrayLike,
    rejected_logprob: ArrayLike,
    *,
    beta: ArrayLike,
    margin: ArrayLike = 0.0,
    kind: str = "sigmoid",
) -> Float[Array, "..."]:
    """`-log sigmoid(x)` (sigmoid) or `max(0, -x)` (hinge) with `x = beta (log pi(y_w) - log pi(y_l)) - margin`.

    >>> round(float(cpo_loss(-12.0, -15.0, beta=0.1)), 4)  # -log sigmoid(0.3)
    0.5544
    """
    x = wide(beta) * (wide(chosen_logprob) - wide(rejected_logprob)) - wide(margin)
    return jax.nn.relu(-x) if kind == "hinge" else -log_sigmoid(x)


@base.OBJECTIVES.register("cpo")
@dataclasses.dataclass(frozen=True)
class Cpo(base.Settings):
    """Contrastive preference optimisation: raise the chosen text over the rejected one, with its likelihood as a hold.

    Formula: the mean over pairs of `cpo_loss`, on sums of log-probabilities, plus `nll_weight` times the cross-entropy
    of chosen texts: the mean over all chosen tokens of the batch (`nll_unit="token"`, as in TRL), or of each pair.

    Want it when a reference does not fit and chosen texts are good enough to be imitated. Nothing but the cross-entropy
    holds the policy near its start: keep the learning rate small. `slic()` is SLiC-HF.

    Shapes, and what is left out: as `mtjax.objectives.dpo.Dpo`. Metrics: `pair_metrics`, with beta times the
    log-probability as reward, and `nll_chosen`.

    Source: Xu et al., "Contrastive Preference Optimization", 2024 (arXiv 2401.08417), whose settings are the defaults;
    Zhao et al., "SLiC-HF: Sequence Likelihood Calibration with Human Feedback", 2023 (arXiv 2305.10425).
    """

    task = "pair"

    beta: Positive = 0.1  # Scale of the difference of log-probabilities.
    margin: NonNegative = 0.0  # What the scaled difference should exceed; SLiC's delta.
    kind: Literal["sigmoid", "hinge"] = "sigmoid"  # Logistic loss, or the hinge of SLiC.
    nll_weight: NonNegative = 1.0  # Factor on the cross-entropy of chosen texts.
    nll_unit: Literal["pair", "token"] = "token"  # Mean per token of each pair, or over all chosen tokens of the batch.

    @property
    def statistics(self) -> Callable[..., dict[str, Mean]]:
        """The batch's numbers of pairs and of chosen targets, where the cross-entropy is a mean over the latter."""
        if not self.nll_weight or self.nll_unit == "pair":
            raise AttributeError("statistics")
        return lambda policy, batch, *, reference=None: sequences.pair_counts(batch)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        ours = sequences.pair_scores(policy, batch, "cpo")
        chosen, rejected = ours.chosen.logprob, ours.rejected.logprob
        loss = cpo_loss(chosen, rejected, beta=self.beta, margin=self.margin, kind=self.kind)
        counts = sequences.pair_counts(batch) if statistics is None else statistics
        nll = sequences.chosen_nll(ours, self.nll_unit, counts)
        metrics = sequences.pair_metrics(ours, self.beta * chosen, self.beta * rejected)
        loss = loss + self.nll_weight * nll if self.nll_weight else loss
        return sequences.mean_of(loss, ours.live), metrics | {"nll_chosen": sequences.mean_of(nll, ours.live)}


def slic(nll_weight: base.Number = 1.0) -> Cpo:
    """SLiC-HF: `max(0, 1 - log pi(y_w) + log pi(y_l))`, and the cross-entropy of the chosen text in place of the SFT
    target's."""
    return Cpo(beta=1.0, margin=1.0, kind="hinge", nll_weight=nll_weight, nll_unit="pair")
