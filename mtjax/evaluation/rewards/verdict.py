"""The verdict as a number, and weighted sums of rewards."""

import dataclasses

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.data.sources.memory import InConfigOnly
from mtjax.errors import InputError
from mtjax.evaluation.rewards.base import REWARDS, Reward
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample


@REWARDS.register("verdict")
@dataclasses.dataclass(frozen=True)
class VerdictReward:
    """One number for right samples and one for wrong ones; undecided ones have none.

    Tülu 3 gives 10 and 0, DAPO 1 and -1. With an advantage that divides by the deviation the numbers do not matter.

    Source: Lambert et al., "Tulu 3: Pushing Frontiers in Open Language Model Post-Training", 2024 (arXiv 2411.15124).
    """

    right: float = 1.0  # Reward of a right sample.
    wrong: float = 0.0  # Reward of a wrong one.
    unfinished: float | None = None
    """Reward of a sample that was cut, in place of its own (Tülu 3: -10); None takes that of its verdict."""

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        if not sample.finished and self.unfinished is not None:
            return self.unfinished
        return {Verdict.RIGHT: self.right, Verdict.WRONG: self.wrong}.get(verdict)


@REWARDS.register("weighted_sum")
@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """The weighted sum of several rewards; not known where one of them is not known.

    Formula: `sum_i weights_i rewards_i`. Written in a config file: `WeightedSum((VerdictReward(), Format()), (1.0,
    0.1))`.
    """

    rewards: InConfigOnly = (VerdictReward(),)  # The rewards.
    weights: tuple[float, ...] = (1.0,)  # The weight of each.

    def __post_init__(self) -> None:
        if not self.rewards or len(self.rewards) != len(self.weights):
            raise InputError(
                f"reward weighted_sum: {len(self.rewards)} rewards and {len(self.weights)} weights; give one each"
            )
        for reward in self.rewards:
            if not isinstance(reward, Reward):
                raise InputError(f"reward weighted_sum: {reward!r:.60} is not a reward; known are {', '.join(REWARDS)}")

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        found = [reward(problem, sample, verdict) for reward in self.rewards]
        if any(value is None for value in found):
            return None
        return float(sum(weight * (value or 0.0) for weight, value in zip(self.weights, found, strict=True)))
