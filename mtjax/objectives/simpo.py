"""SimPO: preference by the mean log-probability per token, with a margin and without a reference."""

import dataclasses
from typing import ClassVar

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from mtjax.objectives import base, sequences
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Metrics, Policy


def simpo_loss(
    chosen_mean_logprob: ArrayLike, rejected_mean_logprob: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike
) -> Float[Array, "..."]:
    """`-log sigmoid(beta (chosen_mean_logprob - rejected_mean_logprob) - gamma)`, elementwise.

    >>> round(float(simpo_loss(-0.3, -0.5, beta=2.0, gamma=0.3)), 4)  # -log sigmoid(0.1)
    0.6444

    Args:
        chosen_mean_logprob: log-probability of the chosen text divided by its length: nats per token, any shape.
        rejected_mean_logprob: the same of the rejected text.
        beta: scale of the reward, > 0.
        gamma: margin that the rewards should have; other code gives `gamma / beta` instead.
    """
    margin = wide(chosen_mean_logprob) - wide(rejected_mean_logprob)
    return -jax.nn.log_sigmoid(wide(beta) * margin - wide(gamma))


@base.OBJECTIVES.register("simpo")
@dataclasses.dataclass(frozen=True)
class Simpo:
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

    task: ClassVar[str] = "pair"
    needs_reference: ClassVar[bool] = False

    beta: base.Number = 2.0  # Scale of the reward, which is a mean per token: larger than DPO's.
    gamma: base.Number = 0.5  # Margin between the rewards, before the sigmoid; not divided by beta.

    def __post_init__(self) -> None:
        base.require(self, "beta", above=0)
        base.require(self, "gamma", at_least=0)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: PRNGKeyArray | None = None
    ) -> tuple[Mean, Metrics]:
        """The loss of the batch, and what to watch."""
        ours = sequences.pair_scores(policy, batch, "simpo")
        chosen, rejected = ours.chosen.mean_logprob, ours.rejected.mean_logprob
        loss = simpo_loss(chosen, rejected, beta=self.beta, gamma=self.gamma)
        return sequences.mean_of(loss, ours.live), sequences.pair_metrics(
            ours, self.beta * chosen, self.beta * rejected
        )
