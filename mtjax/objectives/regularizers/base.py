"""The contract of a regularizer, the mean over target tokens that most of them are, and how one joins an objective."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.base import Key, Outcome, Sums
from mtjax.registry import Registry
from mtjax.types import Batch, Mean, Policy

REGULARIZERS = Registry("regularizer", requires=("weight",))
"""Every regularizer by name."""


class Regularizer(Protocol):
    """A frozen dataclass whose fields are its settings. It needs no task and no reference."""

    weight: base.Number  # Factor on the mean in the loss, at least 0.

    def __call__(self, policy: Policy, batch: Batch) -> Mean:
        """The loss of the batch without the weight. Its count must not depend on the policy."""
        ...


def token_mean(values: Float[Array, "*B T"], batch: Batch) -> Mean:
    """Mean over the target tokens: those that are predicted and have a weight other than 0. Each counts once."""
    target = (base.is_target(jnp.asarray(batch.segments)) > 0) & (jnp.asarray(batch.weights) != 0)
    return Mean(jnp.sum(jnp.where(target, values, 0)), jnp.sum(target, dtype=jnp.float32))


def with_regularizers(objective: Any, regularizers: Sequence[Any]) -> Any:
    """The objective with `weight * mean` of each regularizer added to its mean; itself if there is none.

    Raises InputError for something that is not a registered regularizer, or one that is there twice.
    """
    names = [REGULARIZERS.name_of(each) for each in regularizers]
    if None in names or len(set(names)) < len(names):
        raise InputError(f"regularizers={tuple(regularizers)}: expected each of {', '.join(REGULARIZERS)} at most once")
    return Regularized(objective, tuple(regularizers)) if regularizers else objective


@dataclasses.dataclass(frozen=True)
class Regularized:
    """An objective and regularizers as one objective; made by `with_regularizers`.

    Formula: `L / n + sum_r weight_r R_r / m_r`, where L and n are total and count of the objective, and R and m those
    of a regularizer, over the entire batch. A part of a batch contributes `L + sum_r weight_r (n / m_r) R_r` to the
    total and its own count, with `n / m_r` of the entire batch, so that any split of a batch gives the same update.

    Metrics: those of the objective, `objective_loss` (its own mean) and `regularizer/NAME` (the mean, without weight).
    Other attributes are those of the objective, but the loss at the reference is not known.
    """

    objective: Any
    regularizers: tuple[Any, ...]

    at_reference = None

    def __getattr__(self, name: str) -> Any:
        if name == "objective":  # not set yet, as in a copy
            raise AttributeError(name)
        return getattr(self.objective, name)

    def _named(self) -> dict[str, Any]:
        return {f"regularizer/{REGULARIZERS.name_of(each)}": each for each in self.regularizers}

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Any]:
        """The objective's own statistics, and `n / m` of each regularizer, as means to be added over the batch."""
        gather = getattr(self.objective, "statistics", None)
        own = {} if gather is None else gather(policy, batch, reference=reference)
        extra = {} if gather is None else {"statistics": own}
        count = self.objective(policy, batch, reference=reference, key=None, **extra)[0].count
        return dict(own) | {name: Mean(count, each(policy, batch).count) for name, each in self._named().items()}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch; without `statistics` the batch counts as the entire one."""
        if statistics is None:
            statistics = self.statistics(policy, batch, reference=reference)
        extra = {"statistics": statistics} if hasattr(self.objective, "statistics") else {}
        loss, metrics = self.objective(policy, batch, reference=reference, key=key, **extra)
        total, added = loss.total, {}
        for name, each in self._named().items():
            added[name] = each(policy, batch)
            total = total + jnp.float32(each.weight) * statistics[name].value * added[name].total
        return Mean(total, loss.count), dict(metrics) | {"objective_loss": loss} | added
