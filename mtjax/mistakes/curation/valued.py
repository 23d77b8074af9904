"""Solutions of a tree search with the values of their steps: AlphaMath, round after round."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from mtjax.data.problem import Candidate
from mtjax.data.sources.mined import Solution, valued_lines
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, drawn
from mtjax.validation import PositiveInt


@CURATIONS.register("valued")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Valued(Curation):
    """Right and wrong solutions with how each was expected to end after every step, as `search:puct` found them.

    The policy learns the right ones, the value head all (`objective:alphamath`). A solution without values, as of
    another search, has one at its end alone. A problem that was solved in no way, or in every way, is kept: its values
    are known too.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", NeurIPS 2024 (arXiv 2405.03553),
    section 3: at most four right and four wrong solutions of a problem.
    """

    tasks: ClassVar[tuple[str, ...]] = ("step_values",)

    per_side: PositiveInt | None = 4  # Most right, and most wrong, solutions of a problem; None takes all.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        problems, counts = [], {"right texts": 0, "wrong texts": 0, "step values": 0}
        for one in attempts:
            right, wrong = (drawn(side, self.per_side, helpers.seed, one.problem.id) for side in self.sides(one))
            valued = tuple(self.candidate(solution) for solution in (*right, *wrong) if solution.step_values)
            plain = lambda side: tuple(self.text(solution) for solution in side if not solution.step_values)
            counts["right texts"] += len(right)
            counts["wrong texts"] += len(wrong)
            counts["step values"] += sum(len(candidate.values) for candidate in valued)
            if right or wrong:
                problems.append(self.asked(one, candidates=valued, right=plain(right), wrong=plain(wrong)))
        return Curated(problems, counts=counts)

    def candidate(self, solution: Solution) -> Candidate:
        """A solution with the values of its lines."""
        return Candidate(self.text(solution), **valued_lines(solution, self.strip))
