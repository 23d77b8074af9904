"""Process reward: whether a step is right, as the choice of the language model between two tokens."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.types import Batch, Mean, Policy


def log_odds_of_steps(policy: Policy, batch: Batch) -> Float[Array, "*B T"]:
    """`z_right - z_wrong` where each token is predicted: the log-odds that the step before a mark is right."""
    segments = jnp.asarray(batch.segments)

    def of_tokens(name: str) -> Array:
        found = sequences.segment_extra(batch, name, "process_reward", "set data.task:process_reward")
        return base.spread(jnp.asarray(found, jnp.int32), segments)

    def log_odds(logits: Float[Array, "C V"], _: Array, extras: dict[str, Array]) -> Float[Array, " C"]:
        one = lambda name: jnp.take_along_axis(logits, extras[name][:, None], axis=-1)[:, 0]
        return (one("right_token") - one("wrong_token")).astype(jnp.float32)

    marked = {name: of_tokens(name) for name in ("right_token", "wrong_token")}
    found: Array = policy.map_logits(log_odds, batch._replace(extras={**batch.extras, **marked}))
    return found


@base.OBJECTIVES.register("process_reward")
@dataclasses.dataclass(frozen=True)
class ProcessReward(base.Settings):
    """Classify the steps of solutions: a process reward model without a head of its own.

    Formula: `sum_t |w_t| softplus(-s_t x_t) / sum_t |w_t|` over the marks behind steps, where `x = z_right - z_wrong`
    is the difference of two logits where the mark is predicted, and s is 1 behind a right step and -1 behind a wrong
    one. `sigmoid(x)` is the probability that the step is right.

    Want it to rank samples by their steps (the least of the probabilities, or their product) or to find the first
    error: `python -m mtjax.score VERIFIER CONFIG --by=least`. The model stays a language model, and is exported as one.

    Needs the task `process_reward`: the sign of a weight is the label, and `extras["segment_right_token"]`,
    `extras["segment_wrong_token"]` `[*B, S]` are the two tokens.

    Metrics: `accuracy`, `accuracy_right` and `accuracy_wrong` (apart, since most steps are right), `right_share`.

    Source: the form with two tokens is that of Wang et al., "Math-Shepherd", ACL 2024 (arXiv 2312.08935), recalled, but
    for the place: they read the logits behind the mark, and these are read before it. Labels on separators: TRL's PRM.
    """

    task = "process_reward"

    wrong_weight: NonNegative = 1.0  # How much a mark behind a wrong step counts; one behind a right step has 1.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        found = log_odds_of_steps(policy, batch)
        signed = jnp.asarray(batch.weights, jnp.float32) * base.is_target(jnp.asarray(batch.segments))
        weights = jnp.where(signed < 0, -self.wrong_weight * signed, signed)
        found = jnp.where(weights != 0, found, 0)
        losses = jax.nn.softplus(jnp.where(signed < 0, found, -found))
        right = jnp.asarray(jnp.where(signed < 0, found < 0, found > 0), jnp.float32)
        mean = lambda values, over: Mean(jnp.sum(over * values), jnp.sum(over))
        metrics = {
            "accuracy": mean(right, jnp.abs(signed)),
            "accuracy_right": mean(right, jnp.maximum(signed, 0)),
            "accuracy_wrong": mean(right, jnp.maximum(-signed, 0)),
            "right_share": mean(jnp.asarray(signed > 0, jnp.float32), jnp.abs(signed)),
        }
        return mean(losses, weights), metrics
