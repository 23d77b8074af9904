"""RISE: preference pairs of whole solutions and of single steps with a small error planted in them."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive
from mtjax.objectives.dpo import dpo_loss
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def rise_loss(
    chosen_logratio: ArrayLike,
    rejected_logratio: ArrayLike,
    chosen_nll: ArrayLike,
    *,
    beta: ArrayLike,
    nll_weight: ArrayLike,
    gate_margin: ArrayLike = 0.0,
) -> Float[Array, "..."]:
    """`-log sigmoid(beta (r - rejected_logratio)) + nll_weight * 1[r < -gate_margin] * chosen_nll`, elementwise.

    `r = chosen_logratio`; the gate is a constant of its own for each pair: the cross-entropy counts only while the
    policy gives the chosen text a lower probability than the reference does. At the reference it is closed.

    >>> round(float(rise_loss(-1.0, -2.0, 12.0, beta=0.4, nll_weight=0.5)), 4)  # -log sigmoid(0.4) + 0.5 * 12
    6.513

    Args:
        chosen_logratio, rejected_logratio: `log pi(y) - log pi_ref(y)` of each text given its context, any shape.
        chosen_nll: `-log pi(chosen)`, a sum over tokens or a mean.
        beta: strength of the implicit KL penalty, > 0.
        nll_weight: the paper's lambda; an array gives pairs their own, 0 where the gate should not count.
        gate_margin: nats that r must be below 0; 0 is the paper's formula.
    """
    gate = jax.lax.stop_gradient(jnp.asarray(wide(chosen_logratio) < -wide(gate_margin), jnp.float32))
    # A closed gate must drop the term even if it is infinite.
    extra = jnp.where(gate * wide(nll_weight) != 0, gate * wide(nll_weight) * wide(chosen_nll), 0)
    return dpo_loss(chosen_logratio, rejected_logratio, beta=beta) + extra


@base.OBJECTIVES.register("rise")
@dataclasses.dataclass(frozen=True)
class Rise(base.Settings):
    """RISE: DPO on step pairs with a planted error and on full pairs, steadied by a gated cross-entropy.

    Formula: `sum_i a_i (DPO_i + nll_weight * 1[r_i < -gate_margin] * NLL_i) / sum_i a_i` over pairs i of both kinds,
    where `DPO_i = -log sigmoid(beta (r_i - r'_i))`, r and r' are the log-ratios to the reference of chosen and rejected
    text, `NLL_i = -log pi(chosen_i)`, and a is `step_weight` or `full_weight`. The gate is a constant per pair.

    Want it when the model's mistakes are small slips in sound solutions. Compare with full pairs and cross-entropy
    alone (`step_weight=0`), which explains most of the published gain.

    All targets of a text count equally, edited or not. A step pair's context, the right steps before it, has weight 0
    in both rows. Needs `extras["segment_kind"]` `[B, 2, S]`: 1 step pair, 0 full pair. Otherwise shapes, and what is
    left out, are as in `mtjax.objectives.dpo.Dpo`.

    Metrics: `pair_metrics`; `reward_margin_step`, `reward_margin_full`, `logprob_chosen_step`, `logprob_chosen_full`,
    `step_share`, and `gate_open`, the share of pairs under the gate on which it is open.

    Source: Xu et al., "Subtle Errors in Reasoning: Preference Learning via Error-injected Self-editing", ACL 2025
    (arXiv 2410.06638). Its released code has neither gate nor cross-entropy (`rise_code`). Second-hand notes of the
    paper give the formula but neither lambda nor beta, nor whether the cross-entropy is a sum or a mean, and write it
    on the step alone (`rise_paper`).
    """

    task = "pair"
    needs_reference = True

    beta: Positive = 0.4  # Strength of the implicit KL penalty; 0.4 in the released code.
    nll_weight: NonNegative = 0.0  # The paper's lambda, whose value is not known; 0 is the released code.
    nll_reduction: Literal["sum", "mean"] = "sum"  # Cross-entropy of the chosen text: sum over its targets, or mean.
    nll_on: Literal["step", "all"] = "step"
    """Which pairs have the gated cross-entropy: step pairs, as noted of the paper, or full ones too."""
    gate_margin: NonNegative = 1e-3
    """Nats by which the chosen text must have become less likely to open the gate; 0 is the paper's formula. Policy and
    reference are compiled apart: where they are equal, r is rounding, and half of all gates would stand open."""
    step_weight: NonNegative = 1.0  # How much a step pair counts.
    full_weight: NonNegative = 1.0  # How much a full pair counts.

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.step_weight or self.full_weight):
            raise InputError("objective.step_weight and objective.full_weight are both 0: nothing to train; raise one")

    at_reference = math.log(2)  # the loss where policy and reference agree: every gate is closed

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        ours = sequences.pair_scores(policy, batch, "rise")
        theirs = sequences.reference_pairs(reference, batch, "rise")
        kind = sequences.segment_extra(batch, "kind", "rise", "use the task 'pair', which says step or full")
        step, live = kind[:, 0] > 0.5, ours.live
        chosen = ours.chosen.logprob - theirs.chosen.logprob
        rejected = ours.rejected.logprob - theirs.rejected.logprob
        nll = -ours.chosen.mean_logprob if self.nll_reduction == "mean" else -ours.chosen.logprob
        gated = step if self.nll_on == "step" else jnp.ones_like(step)
        weight = jnp.where(gated, self.nll_weight, 0.0)
        margin = self.gate_margin
        loss = rise_loss(chosen, rejected, nll, beta=self.beta, nll_weight=weight, gate_margin=margin)
        weight = jnp.where(live, jnp.where(step, self.step_weight, self.full_weight), 0.0)
        # A weight of 0 must drop a pair even if its loss is infinite.
        total = Mean(jnp.sum(jnp.where(weight != 0, weight * loss, 0)), jnp.sum(weight))
        metrics = sequences.pair_metrics(ours, self.beta * chosen, self.beta * rejected)
        for name, which in (("step", live & step), ("full", live & ~step)):
            metrics[f"reward_margin_{name}"] = sequences.mean_of(self.beta * (chosen - rejected), which)
            metrics[f"logprob_chosen_{name}"] = sequences.mean_of(ours.chosen.logprob, which)
        gate_open = sequences.share_of(chosen < -margin, live & gated)
        return total, metrics | {"step_share": sequences.share_of(step, live), "gate_open": gate_open}


def rise_paper(*, beta: base.Number, nll_weight: base.Number, nll_reduction: Literal["sum", "mean"] = "sum") -> Rise:
    """RISE as noted of the paper: the gated cross-entropy on step pairs. Beta and lambda are unknown: give yours."""
    return Rise(beta=beta, nll_weight=nll_weight, nll_reduction=nll_reduction, nll_on="step")


def rise_code() -> Rise:
    """RISE as released (`kaishxu/RISE`): one list of pairs, DPO with beta 0.4, nothing else.

    It also leaves the end token off every pair: set `data.task.end="none"`.
    """
    return Rise(beta=0.4, nll_weight=0.0)
