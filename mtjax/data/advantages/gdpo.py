"""GDPO: several rewards, each compared within its group before they are added."""

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mtjax.data.advantages.base import ADVANTAGES, About, Advantage, checked
from mtjax.data.advantages.baselines import Grpo
from mtjax.errors import InputError


@ADVANTAGES.register("gdpo")
@dataclasses.dataclass(frozen=True)
class Gdpo(Advantage):
    """A weighted sum of several rewards, each in standard deviations from the mean of its group.

    Formula: `A_i = reward_weight g(r)_i + sum_k weight_k g(r_k)_i`, with `g(r) = (r - mean r) / (std r + epsilon)` as
    in `grpo`, so that no reward drowns another by its scale, and equal sums of different rewards stay apart. The paper
    then divides by the deviation over the batch: `objective.whiten=advantages` of `policy_gradient`.

    The further rewards are the record's `numbers` (format `group`), by name.

    Source: GDPO, known to us as TRL's `multi_objective_aggregation="normalize_then_sum"`, whose epsilon this is.
    """

    needs_about: ClassVar[bool] = True

    names: tuple[str, ...] = ()  # The further rewards: keys of the record's `numbers`.
    weights: tuple[float, ...] = ()  # Their factors, in order; empty gives each 1.
    reward_weight: float = 1.0  # Factor on the reward itself.
    epsilon: float = 1e-4  # Added to each deviation.

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.names):
            raise InputError(f"advantage.weights={self.weights}: expected one for each of advantage.names={self.names}")

    def __call__(  # type: ignore[override]
        self, rewards: Float[np.ndarray, " n"], about: About
    ) -> Float[np.ndarray, " n"]:
        if missing := [name for name in self.names if name not in about.numbers]:
            raise InputError(
                f"advantage 'gdpo' wants the number {missing[0]!r} of every candidate, and the record has "
                f"{sorted(about.numbers)}; add it to `numbers`, or change data.task.advantage.names"
            )
        compare, factors = Grpo(epsilon=self.epsilon), self.weights or (1.0,) * len(self.names)
        total = self.reward_weight * compare(checked(rewards))
        for name, factor in zip(self.names, factors, strict=True):
            total = total + factor * compare(checked(about.numbers[name]))
        return total
