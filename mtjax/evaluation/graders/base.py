"""The contract of a grader."""

from typing import ClassVar, Protocol, runtime_checkable

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.registry import Registry
from mtjax.sampling.sampler import Sample
from mtjax.sampling.texts import TokenSample

GRADERS = Registry("grader", requires=("needs_gold",))  # Every grader by name.


@runtime_checkable
class Grader(Protocol):
    """A frozen dataclass; its fields are its own settings."""

    needs_gold: ClassVar[bool]  # whether it compares with the gold answer, which every problem must then have

    def __call__(self, problem: Problem, sample: Sample | TokenSample) -> Verdict:
        """The verdict on one sample; UNKNOWN if it cannot be decided. Never raises, whatever the text.

        It may depend on the problem, `sample.text` and `sample.finished` only: equal samples of a problem are judged
        once. Samples that say nothing (`mtjax.sampling.sampler.silence`) are not judged; they are UNKNOWN.
        """
        ...
