"""Groups of all samples of a problem with their rewards: policy gradients."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from mtjax.data.problem import Candidate
from mtjax.data.sources.mined import Solution
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers


@CURATIONS.register("groups")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups(Curation):
    """All samples of a problem as one group, each with its reward, its tokens as drawn and their log-probabilities.

    The reward is what the run's `reward` gives; without one it is 1 for a right and 0 for a wrong answer. One that is
    not known stays unknown and is left out of the comparison. Problems whose samples all have one reward are kept, and
    the task `group` decides on them (`equal`). For RLVR: GRPO, DAPO, RLOO and their kin (docs/groups.md).

    Source: Lambert et al., "Tulu 3: Pushing Frontiers in Open Language Model Post-Training", 2024 (arXiv 2411.15124),
    section 6, for rewards by a verifier.
    """

    tasks: ClassVar[tuple[str, ...]] = ("group",)

    cut_reward: float | None = 0.0
    """Without a `reward` function: reward of a sample that was cut at its longest length, as it has no answer; None
    leaves it unknown. Whether it is trained on is the task's `cut`."""
    mixed_only: bool = False  # Leave out problems whose samples all have one reward (DAPO), before the task does.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        problems, counts = [], {"groups": 0, "equal groups": 0}
        for one in attempts:
            members = [
                self.candidate(solution, helpers.rewarded)
                for solution in one.mined.solutions
                for _ in range(solution.count)
            ]
            rewards = {member.reward for member in members if member.reward is not None}
            equal = len(rewards) < 2
            counts["groups"] += 1
            counts["equal groups"] += equal
            if members and rewards and not (equal and self.mixed_only):
                problems.append(self.asked(one, candidates=tuple(members)))
        return Curated(problems, counts=counts)

    def candidate(self, solution: Solution, rewarded: bool = False) -> Candidate:
        """A solution as a member of its group; its reward is that of the `rewarded` run, or else of its verdict."""
        reward = solution.reward
        if reward is None and not rewarded:
            reward = {"right": 1.0, "wrong": 0.0}.get(solution.verdict) if solution.finished else self.cut_reward
        drawn = (solution.token_ids, solution.token_logprobs, solution.proposal_logprobs)
        return Candidate(solution.text, reward, (), (), solution.finished, *drawn)
