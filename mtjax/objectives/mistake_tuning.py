"""Mistake tuning: learn from right and wrong rationales, told apart by a prefix (Tong et al., ACL 2024)."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
from annotated_types import Ge, Lt

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome
from mtjax.types import Batch, Mean, Policy

NO_SIGN = "mistake tuning has no negative sign; set it between 0 and 1 to weaken wrong rationales"


@base.OBJECTIVES.register("mistake_tuning")
@dataclasses.dataclass(frozen=True)
class MistakeTuning(base.Settings):
    """Cross-entropy on right and wrong rationales, each behind the prefix of its polarity.

    Formula: `L = -sum_t v_t log p(y_t | y_<t) / sum_t v_t`, where `v_t = w_t` in right segments and
    `incorrect_weight * w_t` in wrong ones. The text `question + prefix + rationale`, and which of its tokens count,
    come from the task `mistake` as `w`; the objective has numbers only. Both polarities pull the same way: there is no
    negative sign and no contrast, and only the prefix keeps the model from learning to be wrong.

    Want it when you have wrong solutions of the model's own and can decode behind the right prefix. At
    `incorrect_weight=0` it is `nll` on the right rationales.

    Needs `extras["segment_polarity"]` `[*B, S]`, 1 right and 0 wrong. Raises InputError for a negative weight, which
    would be another method (unlikelihood), and for a batch without polarities.

    Metrics: `entropy`, `top1`, `nll_right` and `nll_wrong` (nats per weighted token of each polarity), `wrong_share`,
    and the histogram `confidence/...` of right rationales.

    Source: Tong et al., "Can LLMs Learn from Previous Mistakes?", ACL 2024, section 4.2 (arXiv 2403.20046). There both
    polarities have weight 1 and the sum covers the whole sequence: `incorrect_weight=1`, `loss_on="all"`.
    """

    task = "mistake"

    incorrect_weight: Annotated[float, Ge(0), Lt(float("inf")), NO_SIGN] = 1.0
    """Weight of a token of a wrong rationale, in units of a right one's; 0 leaves the wrong ones out."""

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        if "segment_polarity" not in batch.extras:
            given = sorted(batch.extras)
            raise InputError(f"mistake_tuning needs extras['segment_polarity'], got {given}: use the task 'mistake'")
        scores = policy.scores(batch)
        polarity = jnp.asarray(batch.extras["segment_polarity"], jnp.float32)
        right = base.spread(polarity, batch.segments)
        loss, metrics = base.weighted_nll(scores, batch, batch.weights * (right + self.incorrect_weight * (1 - right)))
        right_loss, _ = base.weighted_nll(scores, batch, batch.weights * right)
        wrong_loss, _ = base.weighted_nll(scores, batch, batch.weights * (1 - right))
        metrics |= {"nll_right": right_loss, "nll_wrong": wrong_loss}
        metrics["wrong_share"] = Mean(wrong_loss.count, wrong_loss.count + right_loss.count)
        ours = sequences.sequence_scores(scores, batch)
        return loss, metrics | sequences.confidence(ours.logprob, ours.live & (polarity > 0.5))
