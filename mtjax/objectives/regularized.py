"""An objective with regularizers added to its loss."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from mtjax.errors import InputError
from mtjax.objectives.regularizers import REGULARIZERS
from mtjax.types import Batch, Mean, Metrics, Policy


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

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Any]:
        """The objective's own statistics, and `n / m` of each regularizer, as means to be added over the batch."""
        gather = getattr(self.objective, "statistics", None)
        own = {} if gather is None else gather(policy, batch, reference=reference)
        extra = {} if gather is None else {"statistics": own}
        count = self.objective(policy, batch, reference=reference, key=None, **extra)[0].count
        ratios = {self._name(each): Mean(count, each(policy, batch).count) for each in self.regularizers}
        return dict(own) | ratios

    def __call__(
        self,
        policy: Policy,
        batch: Batch,
        *,
        reference: Policy | None = None,
        key: PRNGKeyArray | None = None,
        statistics: Mapping[str, Mean] | None = None,
    ) -> tuple[Mean, Metrics]:
        """The loss of the batch; without `statistics` the batch counts as the entire one."""
        if statistics is None:
            statistics = self.statistics(policy, batch, reference=reference)
        extra = {"statistics": statistics} if hasattr(self.objective, "statistics") else {}
        loss, metrics = self.objective(policy, batch, reference=reference, key=key, **extra)
        total, added = loss.total, {}
        for each in self.regularizers:
            name = self._name(each)
            added[name] = each(policy, batch)
            total = total + jnp.float32(each.weight) * statistics[name].value * added[name].total
        return Mean(total, loss.count), dict(metrics) | {"objective_loss": loss} | added

    @staticmethod
    def _name(regularizer: Any) -> str:
        return f"regularizer/{REGULARIZERS.name_of(regularizer)}"
