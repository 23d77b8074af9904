"""AlphaMath: likelihood of right solutions, and a value head that learns from right and wrong ones."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Sums
from mtjax.types import Batch, Mean, Policy


@base.OBJECTIVES.register("alphamath")
@dataclasses.dataclass(frozen=True)
class AlphaMath(base.Settings):
    """Policy and value together: imitate right solutions, and predict after each step how a solution will end.

    Formula: `sum_right w_t (-log p_t) / sum_right w_t + value_weight sum_t u_t (V_t - Q_t)^2 / (sum_t u_t +
    epsilon)`, each over the entire batch. The first term has the targets of right solutions alone, the second one the
    last tokens of steps (u = 1) of right and wrong ones. V is the value head, Q the expected end of the solution, from
    -1 to 1.

    Want it for step-level search with one model that proposes steps and judges them; wrong solutions teach the judge
    and never the speaker. Values should come from a tree search: the end of a solution as the target of all its steps
    loses the point.

    Needs the task `step_values` and a value head (`model.value_head:value_head`). The mean counts value targets; every
    solution has one.

    Metrics: `nll` of right solutions per token, `value_error` (mean square), `value_sign` (share of targets whose sign
    the head has), `right_share` of solutions.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", NeurIPS 2024 (arXiv 2405.03553),
    eq. 8, and its code, whose epsilon is 1e-3. The paper's weight is 0.1 in table 6 and 0.01 in appendix C.3.
    """

    task = "step_values"
    needs_value: ClassVar[bool] = True  # a value head

    value_weight: NonNegative = 0.1  # Factor on the squared error of the value head.
    epsilon: NonNegative = 0.0  # Added to the number of value targets; 1e-3 in the released code.

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        """How many targets of right solutions and how many value targets the batch has, as totals."""
        weights, valued = self._targets(batch)
        return {name: Mean(jnp.sum(x), jnp.sum(x)) for name, x in (("targets", weights), ("values", valued))}

    def _targets(self, batch: Batch) -> tuple[Any, Any]:
        segments = jnp.asarray(batch.segments)
        if "value_weight" not in batch.extras:
            raise InputError(
                f"objective 'alphamath' needs extras['value_weight'], got {sorted(batch.extras)}; set "
                "data.task:step_values"
            )
        right = base.spread(jnp.asarray(sequences.is_right(batch, "alphamath"), jnp.float32), segments)
        weights = jnp.asarray(batch.weights, jnp.float32) * base.is_target(segments) * right
        live = base.spread(jnp.asarray(sequences.live_texts(batch), jnp.float32), segments)
        return weights, jnp.asarray(batch.extras["value_weight"], jnp.float32) * live

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        known = self.statistics(policy, batch) if statistics is None else statistics
        targets, values = known["targets"].total, known["values"].total
        weights, valued = self._targets(batch)
        nll, metrics = base.weighted_nll(policy.scores(batch), batch, weights)
        expected = getattr(policy, "values", None)
        if expected is None:
            raise InputError(
                f"objective 'alphamath' needs a policy with a value head; {type(policy).__name__} has none: set "
                "model.value_head:value_head"
            )
        goal = jnp.asarray(batch.extras["value_target"], jnp.float32)
        said = expected(batch)
        error = jnp.sum(valued * jnp.where(valued != 0, said - goal, 0) ** 2)
        count = jnp.sum(valued)
        # In units of a value target, so that one count serves both terms; each is divided by its own number.
        total = nll.total * values / jnp.maximum(targets, 1e-6)
        total = total + self.value_weight * error * values / jnp.maximum(values + self.epsilon, 1e-6)
        right = jnp.asarray(sequences.is_right(batch, "alphamath"))
        metrics |= {
            "nll": nll,
            "value_error": Mean(error, count),
            "value_sign": Mean(jnp.sum(valued * jnp.asarray(said * goal > 0, jnp.float32)), count),
            "right_share": sequences.share_of(right, sequences.live_texts(batch)),
        }
        return Mean(total, count), metrics
