"""Right and wrong solutions, to be told apart by a prefix: mistake tuning on fresh mistakes."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, drawn
from mtjax.validation import PositiveInt


@CURATIONS.register("both")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Both(Curation):
    """The right and the wrong solutions; the task `mistake` puts each after the prefix that says which it is.

    The task `completion` with `polarities='both'` trains them without a prefix, for objectives such as `unlikelihood`.

    Source: Tong et al., "Can LLMs Learn from Previous Mistakes? Investigating LLMs' Errors to Boost for Reasoning", ACL
    2024 (arXiv 2403.20046), which takes wrong solutions once, before training.
    """

    tasks: ClassVar[tuple[str, ...]] = ("mistake", "completion", "group")

    right_per_problem: PositiveInt | None = 4  # Most right solutions of a problem; None keeps all.
    wrong_per_problem: PositiveInt | None = 4  # Most wrong solutions of a problem; None keeps all.
    mixed_only: bool = False  # Only problems with both a right and a wrong solution.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        problems, counts = [], {"right texts": 0, "wrong texts": 0}
        for one in attempts:
            sides = self.sides(one)
            if not any(sides) or (self.mixed_only and not all(sides)):
                continue
            right = drawn(sides[0], self.right_per_problem, helpers.seed, one.problem.id)
            wrong = drawn(sides[1], self.wrong_per_problem, helpers.seed, one.problem.id)
            counts["right texts"] += len(right)
            counts["wrong texts"] += len(wrong)
            texts = {"right": tuple(map(self.text, right)), "wrong": tuple(map(self.text, wrong))}
            problems.append(self.asked(one, **texts))
        return Curated(problems, counts=counts)
