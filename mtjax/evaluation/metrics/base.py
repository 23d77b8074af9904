"""The contract of a metric, and what it is computed from."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float

from mtjax.evaluation.grading import Graded
from mtjax.registry import Registry
from mtjax.reporting.intervals import Interval, mean_interval

METRICS = Registry("metric", requires=("needs_greedy", "order"))
"""Every metric of `python -m mtjax.evaluate` by name."""


class Evaluation(NamedTuple):
    """The checked answers of one policy to N problems with one prompt.

    Attributes:
        ids: names of the problems.
        golds: their answers.
        sampled: n samples of each, checked.
        finished: whether a sample ended by itself before `max_new_tokens`.
        greedy: one greedy answer of each (n = 1); None where it was not asked for.
    """

    ids: list[str]
    golds: list[str]
    sampled: Graded
    finished: Bool[np.ndarray, "N n"]
    greedy: Graded | None = None

    @property
    def per_problem(self) -> Float[np.ndarray, " N"]:
        """Share of right samples of each problem, its pass@1: what a paired comparison of two arms takes."""
        return self.sampled.right.mean(axis=1)


class MetricSettings(NamedTuple):
    """What all metrics of an evaluation share.

    Attributes:
        ks: sample counts for pass@k and maj@k.
        level: share of the bootstrap intervals, such as 0.95.
        seed: seed of the bootstrap.
    """

    ks: tuple[int, ...] = ()
    level: float = 0.95
    seed: int = 0

    def interval(self, values: Sequence[float] | np.ndarray) -> Interval:
        """The mean of one number per problem, with its bootstrap interval over problems."""
        return mean_interval(np.asarray(values, float), level=self.level, seed=self.seed)


class Metric(Protocol):
    """A frozen dataclass.

    Attributes:
        needs_greedy: whether it reads `Evaluation.greedy`, which costs one more answer per problem.
        order: its place in tables, ascending; equal ones by name.
    """

    needs_greedy: ClassVar[bool]
    order: ClassVar[int]

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        """The numbers by the names that they have in tables and files; empty where they do not apply."""
        ...
