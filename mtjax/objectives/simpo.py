"""SimPO and AlphaPO: preference by the mean log-probability per token, with a margin and without a reference."""

import dataclasses

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive
from mtjax.objectives.numerics import wide
from mtjax.objectives.pair_losses import score
from mtjax.types import Batch, Policy


def simpo_loss(
    chosen_mean_logprob: ArrayLike,
    rejected_mean_logprob: ArrayLike,
    *,
    beta: ArrayLike,
    gamma: ArrayLike,
    alpha: base.Number = 0.0,
) -> Float[Array, "..."]:
    """`-log sigmoid(beta (s(chosen_mean_logprob) - s(rejected_mean_logprob)) - gamma)`, elementwise.

    s is the identity, or with `alpha` AlphaPO's reward: `s(x) = (1 - exp(-alpha x)) / alpha`, which punishes an
    unlikely chosen text more than x does. Its exponent is held at 80, with the slope that it has there.

    >>> round(float(simpo_loss(-0.3, -0.5, beta=2.0, gamma=0.3)), 4)  # -log sigmoid(0.1)
    0.6444

    Args:
        chosen_mean_logprob, rejected_mean_logprob: log-probability divided by length: nats per token, any shape.
        beta: scale of the reward, > 0.
        gamma: margin that the rewards should have; other code gives `gamma / beta` instead.
    """
    margin = score(chosen_mean_logprob, "alpha", alpha) - score(rejected_mean_logprob, "alpha", alpha)
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
    The default values are those of torchtune's `SimPOLoss`. `alpha`: Gupta et al., "AlphaPO: Reward Shape Matters for
    LLM Alignment", 2025 (arXiv 2501.03884), whose settings are `alphapo()`.
    """

    task = "pair"

    beta: Positive = 2.0  # Scale of the reward, which is a mean per token: larger than DPO's.
    gamma: NonNegative = 0.5  # Margin between the rewards, before the sigmoid; not divided by beta.
    alpha: base.Number = 0.0  # Shape of AlphaPO's reward, `(1 - p^-alpha) / alpha` of p per token; 0 is SimPO.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        ours = sequences.pair_scores(policy, batch, "simpo")
        chosen, rejected = ours.chosen.mean_logprob, ours.rejected.mean_logprob
        loss = simpo_loss(chosen, rejected, beta=self.beta, gamma=self.gamma, alpha=self.alpha)
        metrics = sequences.pair_metrics(ours, self.beta * chosen, self.beta * rejected)
        return sequences.mean_of(loss, ours.live), metrics


def alphapo() -> Simpo:
    """AlphaPO with the paper's settings for Mistral 7B (arXiv 2501.03884)."""
    return Simpo(beta=2.5, gamma=0.1, alpha=0.25)
