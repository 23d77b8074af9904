"""The share of its tests that a program passes."""

import dataclasses
from typing import Annotated

from annotated_types import Ge, Le

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.graders.program import ProgramGrader
from mtjax.evaluation.rewards.base import REWARDS
from mtjax.evaluation.sandbox import Sandbox
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample
from mtjax.validation import check_types


@REWARDS.register("tests")
@dataclasses.dataclass(frozen=True)
class TestsReward:
    """The share of the problem's tests that the sample's program passes; 0 below a share, and for one that fails.

    Not known for a problem without tests and for a sample that was cut. Programs run in a sandbox.
    """

    __test__ = False  # pytest takes the name for that of a test

    least: Annotated[float, Ge(0), Le(1)] = 0.0  # Shares below this count as 0.
    sandbox: Sandbox = Sandbox()  # Limits of a program.

    def __post_init__(self) -> None:
        check_types(self, "reward")

    def __call__(self, problem: Problem, sample: Sample | TokenSample, verdict: Verdict) -> float | None:
        ran = ProgramGrader(self.sandbox).run(problem, sample)
        if ran is None:
            return None
        share = sum(ran.passed) / len(ran.passed) if ran.outcome == "done" and ran.passed else 0.0
        return share if share >= self.least else 0.0
