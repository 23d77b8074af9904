"""Right solutions alone: rejection sampling (STaR, RFT, ReST-EM)."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Le

from mtjax.data.sources.mined import Solution
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, drawn
from mtjax.mistakes.text.equations import equations
from mtjax.validation import PositiveInt


def distinct_by_equations(solutions: Sequence[Solution]) -> list[Solution]:
    """The first solution of each list of equations (RFT); of those without equations, the first of each text."""
    found: dict[object, Solution] = {}
    for solution in solutions:
        said = tuple("".join(token.text for token in (*one.tokens, one.right)) for one in equations(solution.text))
        found.setdefault(said or " ".join(solution.text.split()), solution)
    return list(found.values())


def cap_of(per_problem: int | None, by_difficulty: bool, rate: float | None) -> int | None:
    """Most solutions to keep of a problem: `per_problem`, or with `by_difficulty` `ceil(per_problem (1 - rate))`.

    At least 1; None keeps all.

    >>> cap_of(4, False, 0.75), cap_of(4, True, 0.75), cap_of(4, True, 1.0)
    (4, 1, 1)
    """
    if per_problem is None or not by_difficulty or rate is None:
        return per_problem
    return max(1, math.ceil(per_problem * (1 - rate)))


@CURATIONS.register("right_only")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RightOnly(Curation):
    """The right solutions, so many of each problem: rejection sampling.

    Without a cap the easy problems, which have most right solutions, outweigh the others.

    Source: Zelikman et al., "STaR: Bootstrapping Reasoning With Reasoning", NeurIPS 2022 (arXiv 2203.14465); Yuan et
    al., "Scaling Relationship on Learning Mathematical Reasoning with Large Language Models", 2023 (arXiv 2308.01825,
    RFT); Singh et al., 2023 (arXiv 2312.06585, ReST-EM, which keeps 10).
    """

    tasks: ClassVar[tuple[str, ...]] = ("completion", "chat")

    per_problem: PositiveInt | None = 4  # Most solutions of a problem, drawn by the round's seed; None keeps all.
    by_difficulty: bool = False  # Lower the cap by the success rate: `ceil(per_problem (1 - rate))`, at least 1.
    distinct: Literal["text", "equations"] = "text"
    """What makes two solutions one: the same text, or the same equations in their order (RFT)."""
    solved_below: Annotated[float, Gt(0), Le(1)] | None = None
    """Leave out problems that are solved in this share of their samples or more."""

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        problems, texts = [], 0
        for one in attempts:
            right = self.sides(one)[0]
            if self.distinct == "equations":
                right = distinct_by_equations(right)
            rate = one.success_rate
            if not right or (self.solved_below is not None and (rate or 0.0) >= self.solved_below):
                continue
            kept = drawn(right, cap_of(self.per_problem, self.by_difficulty, rate), helpers.seed, one.problem.id)
            texts += len(kept)
            problems.append(self.asked(one, right=tuple(map(self.text, kept))))
        return Curated(problems, counts={"right texts": texts})
