"""Advantages that compare a reward with the others of its group: as it is, leave-one-out, centred, over a deviation."""

import dataclasses
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from jaxtyping import Float

from mtjax.data.advantages.base import ADVANTAGES, Advantage, centred, checked


@ADVANTAGES.register("reward")
@dataclasses.dataclass(frozen=True)
class Reward(Advantage):
    """The reward itself: no baseline, as in plain REINFORCE.

    Formula: `A_i = r_i`. Right texts are raised; wrong ones are lowered only where their reward is negative.
    """

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return checked(rewards, 1)


@ADVANTAGES.register("rloo")
@dataclasses.dataclass(frozen=True)
class Rloo(Advantage):
    """The reward minus the mean of the other candidates' rewards (leave one out), which is unbiased.

    Formula: `A_i = r_i - mean_{j != i} r_j = n / (n - 1) (r_i - mean r)`.

    Source: Ahmadian et al., "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback
    in LLMs", 2024 (arXiv 2402.14740).
    """

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return centred(rewards) * (len(rewards) / (len(rewards) - 1))


@ADVANTAGES.register("centered")
@dataclasses.dataclass(frozen=True)
class Centered(Advantage):
    """The reward minus the mean of the group, as in Dr. GRPO: hard and easy prompts are not weighted up.

    Formula: `A_i = r_i - mean r`. With the reduction `constant` of `policy_gradient` this is Dr. GRPO.

    Source: Liu et al., "Understanding R1-Zero-Like Training: A Critical Perspective", 2025 (arXiv 2503.20783).
    """

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return centred(rewards)


@ADVANTAGES.register("grpo")
@dataclasses.dataclass(frozen=True)
class Grpo(Advantage):
    """The reward in standard deviations from the mean of its group, as in GRPO.

    Formula: `A_i = (r_i - mean r) / (std r + epsilon)`. The papers do not say which deviation: TRL takes the sample's
    (`n - 1`) with epsilon 1e-4, verl and Tunix the sample's with 1e-6, open-instruct that of the population (`n`) with
    1e-8. On rewards of 0 and 1 prompts that are nearly always or nearly never solved get the largest numbers.

    Source: Shao et al., "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models", 2024
    (arXiv 2402.03300).
    """

    deviation: Literal["sample", "population"] = "sample"  # Divide by n - 1 or by n under the root.
    epsilon: Annotated[float, Ge(0)] = 1e-4  # Added to the deviation.

    def __call__(self, rewards: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        difference = centred(rewards)
        if not difference.any():
            return difference
        return difference / (np.std(rewards, ddof=int(self.deviation == "sample"), dtype=np.float64) + self.epsilon)
