"""ORPO: fine-tuning on the chosen text with a penalty on the odds of the rejected one; no reference."""

import dataclasses

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import log_odds, wide
from mtjax.types import Batch, Policy


def orpo_loss(
    chosen_mean_logprob: ArrayLike, rejected_mean_logprob: ArrayLike, *, odds_weight: ArrayLike
) -> Float[Array, "..."]:
    """`-chosen_mean_logprob - odds_weight * log sigmoid(log odds_c - log odds_r)`, elementwise, `odds = p / (1 - p)`.

    p is the exponential of the mean log-probability per token, so that neither odds underflow. A p closer to 1 than
    float32 can tell is held there.

    >>> round(float(orpo_loss(-0.9162907, -1.6094379, odds_weight=0.0)), 4)  # p = 0.4: -log 0.4
    0.9163

    Args:
        chosen_mean_logprob, rejected_mean_logprob: log-probability divided by length: nats per token, any shape.
        odds_weight: the paper's lambda, other code's beta.
    """
    chosen = wide(chosen_mean_logprob)
    ratio = log_odds(chosen) - log_odds(rejected_mean_logprob)
    return -chosen - wide(odds_weight) * jax.nn.log_sigmoid(ratio)


@base.OBJECTIVES.register("orpo")
@dataclasses.dataclass(frozen=True)
class Orpo(base.Settings):
    """Odds ratio preference optimisation: cross-entropy on the chosen text, and its odds over the rejected one's.

    Formula: the mean over pairs of `-m_c - odds_weight * log sigmoid(log(p_c / (1 - p_c)) - log(p_r / (1 - p_r)))`,
    where `m` is the mean log-probability per token of a text and `p = exp(m)`.

    Want it to go from a base model to preferences in one stage: it needs neither a reference nor fine-tuning before.

    Each pair counts once, whatever its length; implementations that average the cross-entropy over all tokens of a
    batch, or include the prompt in it, give long texts more of a say. Shapes, and what is left out: as
    `mtjax.objectives.dpo.Dpo`. Metrics: `pair_metrics`, with the log-odds as reward, and `nll_chosen` (nats per token,
    mean over pairs).

    Source: Hong et al., "ORPO: Monolithic Preference Optimization without Reference Model", 2024 (arXiv 2403.07691).
    """

    task = "pair"

    odds_weight: NonNegative = 0.1  # Weight of the odds beside the cross-entropy: the paper's lambda.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        ours = sequences.pair_scores(policy, batch, "orpo")
        chosen, rejected = ours.chosen.mean_logprob, ours.rejected.mean_logprob
        loss = orpo_loss(chosen, rejected, odds_weight=self.odds_weight)
        metrics = sequences.pair_metrics(ours, log_odds(chosen), log_odds(rejected))
        return sequences.mean_of(loss, ours.live), metrics | {"nll_chosen": sequences.mean_of(-chosen, ours.live)}
