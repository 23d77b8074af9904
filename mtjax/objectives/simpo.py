"""SimPO: preference by the mean log-probability per token, with a margin and without a reference."""

import dataclasses

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Policy


def simpo_loss(
    chosen_mean_logprob: ArrayLike, rejected_mean_logprob: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike
) -> Float[Array, "..."]:
    """`-log sigmoid(beta (chosen_mean_logprob - rejected_mean_logprob) - gamma)`, elementwise.

    >>> round(float(simpo_loss(-0.3, -0.5, beta=2.0, gamma=0.3)), 4)  # -log sigmoid(0.1)
    0.6444

    Args:
        chosen_mean_logprob, rejected_mean_logprob: log-probability divided by length: nats per token, any shape.
        beta: scale of the reward, > 0.
        gamma: margin that the rewards should have; other code gives `gamma / beta` instead.
    """
    margin = wide(chosen_mean_logprob) - wide(rejected_mean_logprob)
    return -jax.nn.log_sigmoid(wide(beta) * margin - wide(gamma))


@base.OBJECTIVES.register("simpo")
@dataclasses.dataclass(frozen=True)
class Simpo(base.Settings):
    """Simple preference optimisation: the chosen text's mean log-probability must lead by a margin.

    Formula: the mean of `-log sigmoid(beta / |y_c| log pi(y_c | x) - beta / |y_r| log pi(y_r | x) - gamma)` over pairs,
    where |y| is the sum of the absolute weights.

    Want it when a second model does not fit, or when the likelihood per token is what you decode by. Nothing holds the
    policy near its start, so learning rates must be small.

    Shapes, and what is left out: as `mtjax.objectives.dpo.Dpo`. Metrics: `pair_metrics`; the reward is beta times the
    mean log-probability.

    Source: Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward", 2024 (arXiv 2405.14734).
    The default values are those of torchtune's `SimPOLoss`.
    """

    task = "pair"

    beta: Positive = 2.0  # Scale of the reward, which is a mean per token: larger than DPO's.
    gamma: NonNegative = 0.5  # Margin between the rewards, before the sigmoid; not divided by beta.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        ours = sequences.pair_scores(policy, batch, "simpo")
        chosen, rejected = ours.chosen.mean_logprob, ours.rejected.mean_logprob
        loss = simpo_loss(chosen, rejected, beta=self.beta, gamma=self.gamma)
        metrics = sequences.pair_metrics(ours, self.beta * chosen, self.beta * rejected)
        return sequences.mean_of(loss, ours.live), metrics
