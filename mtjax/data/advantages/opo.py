"""OPO: the reward minus the baseline of least variance, a mean of rewards by length."""

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mtjax.data.advantages.base import ADVANTAGES, About, Advantage, checked


@ADVANTAGES.register("opo")
@dataclasses.dataclass(frozen=True)
class Opo(Advantage):
    """The reward minus the mean reward of the group, each candidate weighted by its length.

    Formula: `A_i = r_i - sum_j n_j r_j / sum_j n_j` with the lengths n in tokens. It is the baseline of least variance
    where the squared gradient of a text grows with its length. Advantages do not add up to 0 where lengths differ.

    Source: OPO ("On-Policy RL with Optimal Reward Baseline", 2025), known to us by verl's `opo`.
    """

    needs_about: ClassVar[bool] = True

    def __call__(  # type: ignore[override]
        self, rewards: Float[np.ndarray, " n"], about: About
    ) -> Float[np.ndarray, " n"]:
        rewards = checked(rewards)
        if rewards.max() == rewards.min():
            return np.zeros_like(rewards)
        return rewards - np.average(rewards, weights=about.lengths)
