"""Pairs of a right and a wrong solution of one problem: iterative DPO and its kin."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from mtjax.data.problem import Pair
from mtjax.data.sources.mined import Solution
from mtjax.io.hashing import unit
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, drawn
from mtjax.mistakes.filters import levenshtein
from mtjax.validation import PositiveInt


def partner(solution: Solution, others: Sequence[Solution], how: str, *key: object) -> Solution:
    """The solution to compare with: the nearest by edit distance, the likeliest by mean log-probability, or any.

    Of equally near ones the first; a log-probability that is not known counts as the lowest.
    """
    if how == "nearest":
        return min(others, key=lambda other: levenshtein(solution.text, other.text))
    if how == "likeliest":
        sure = lambda one: float("-inf") if one.logprob is None or not one.tokens else one.logprob / one.tokens
        return max(others, key=sure)
    return min(others, key=lambda other: unit(*key, solution.text, other.text))


@CURATIONS.register("pairs")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs(Curation):
    """Every right solution with the nearest wrong one of its problem, as pairs of complete solutions.

    The nearest wrong solution differs in little more than the error, which is what the pair is to teach. For iterative
    DPO, and Qwen2.5's self-check: samples that pass the checker against samples that fail. Set `full_per_problem=None`
    in the task `pair` to train on all of them.

    Source: Qwen Team, "Qwen2.5 Technical Report", 2024 (arXiv 2412.15115), section 4.2 for pairs of own right and wrong
    samples; the choice of the nearest one is ours.
    """

    tasks: ClassVar[tuple[str, ...]] = ("pair", "mistake")

    per_problem: PositiveInt | None = 4  # Most pairs of a problem; None makes one for each right solution.
    wrong: Literal["nearest", "likeliest", "any"] = "nearest"
    """Which wrong solution: the nearest by edit distance, the one that the policy finds likeliest, or any."""

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        problems, count = [], 0
        for one in attempts:
            if pairs := self.pairs_of(one, helpers.seed):
                count += len(pairs)
                problems.append(self.asked(one, pairs=pairs))
        return Curated(problems, counts={"pairs": count})

    def pairs_of(self, one: Attempted, seed: int) -> tuple[Pair, ...]:
        """The pairs of one problem; none without a right and a wrong solution."""
        right, wrong = self.sides(one)
        if not right or not wrong:
            return ()
        chosen = drawn(right, self.per_problem, seed, one.problem.id)
        return tuple(
            Pair("", self.text(good), self.text(partner(good, wrong, self.wrong, seed, one.problem.id)))
            for good in chosen
        )
