"""The contract of an aggregation."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

from mtjax.registry import Registry

AGGREGATIONS = Registry("aggregation", settings=False)  # Every aggregation by name.


class Aggregation(Protocol):
    """A function from the samples of one problem to weights of its answers."""

    def __call__(
        self, answers: Sequence[Hashable | None], log_probs: Sequence[float | None]
    ) -> Mapping[Hashable, float]:
        """The weight of each distinct answer, summing to 1; empty if there is no answer.

        Args:
            answers: the answer of each sample; equal answers compare equal. None is not an answer and has no weight.
            log_probs: the summed log-probability of each sample (nats); None if unknown.
        """
        ...


def best(weights: Mapping[Hashable, float]) -> Hashable | None:
    """The answer with the highest weight, the first one of several; None without answers."""
    return max(weights, key=weights.__getitem__, default=None)
