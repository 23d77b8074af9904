"""Keep the easiest or the hardest problems, by a number that the records have or that is counted in them."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from mtjax.data.problem import Problem
from mtjax.data.selection.base import ASKED, SELECTIONS, Selected, Selection, asked
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.validation import check_types

MOST_LINES = 10  # Lines of a solution that are counted at most, as in the paper for GSM8K.
_first = lambda problem: problem.right[0] if problem.right else ""
_lines = lambda problem: len([line for line in _first(problem).splitlines() if line.strip()])

MEASURES: dict[str, Callable[[Problem], float | None]] = {
    "question_words": lambda problem: len(asked(problem).split()),
    "answer_characters": lambda problem: len(problem.answer) if problem.answer else None,
    "solution_words": lambda problem: len(_first(problem).split()) if problem.right else None,
    "solution_lines": lambda problem: min(_lines(problem), MOST_LINES) if problem.right else None,
    "difficulty": lambda problem: problem.difficulty,
    "failure_rate": lambda problem: None if problem.success_rate is None else 1 - problem.success_rate,
}
"""How hard a problem is, by the name of the measure; higher is harder, None where it is not known."""

Measure = Literal[
    "question_words", "answer_characters", "solution_words", "solution_lines", "difficulty", "failure_rate"
]


def easy_and_hard(
    values: Float[np.ndarray, " N"], share: float = 0.3
) -> tuple[Bool[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """Which values are at most the `share` quantile, and which at least the `1 - share` quantile.

    The two are disjoint, and depend on the values alone, not on their order: equal values are on one side, or, where a
    quantile falls among values equal to the other's, on none. NaN is on none.

    >>> easy_and_hard(np.array([3.0, 1.0, 2.0, 9.0]))[0].tolist()
    [False, True, False, False]
    """
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return np.zeros(len(values), bool), np.zeros(len(values), bool)
    rank = max(math.ceil(share * len(known) - 1e-9) - 1, 0)
    low, high = known[rank], known[len(known) - 1 - rank]
    easy, hard = values <= low, values >= high
    return easy & ~hard, hard & ~easy


@SELECTIONS.register("hardness")
@dataclasses.dataclass(frozen=True)
class Hardness(Selection):
    """Keep the easy, or the hard problems: train on easy data, and evaluate on hard ones.

    Easy problems are at most as hard as the limit, hard ones at least; problems without the number are left out. On
    GSM8K the paper takes solutions of at most 4 and of at least 7 lines. `python -m mtjax.audit SOURCE
    --checks=hardness` gives the limits of other data.

    Source: Hase et al., "The Unreasonable Effectiveness of Easy Training Data for Hard Tasks", 2024 (arXiv 2401.06751).
    """

    by: Measure  # The measure; see `MEASURES`.
    limit: float  # Most of an easy, least of a hard problem.
    side: Literal["easy", "hard"] = "easy"  # Which to keep.

    def __post_init__(self) -> None:
        check_types(self)

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        raw = [MEASURES[self.by](problem) for problem in problems]
        values = np.array([math.nan if value is None else value for value in raw], np.float64)
        if problems and not np.isfinite(values).any():
            raise InputError(f"no problem has a number for hardness.by={self.by!r}; choose another measure")
        fits = values <= self.limit if self.side == "easy" else values >= self.limit
        kept = [problem for problem, keep in zip(problems, fits, strict=True) if keep]
        return self.keep(
            kept, problems, f"{self.by} is not at {'most' if self.side == 'easy' else 'least'} {self.limit:g}"
        )

    def fingerprint(self) -> str:
        return digest(type(self).__name__, self, ASKED)
