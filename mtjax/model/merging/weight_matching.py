"""Weight matching: neurons and heads are brought into the order of another model before the mean is taken."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import jax
import numpy as np
from annotated_types import Ge

from mtjax.model.merging.base import MERGES, Given, Measure, Merged, Point, along, mean_of, said
from mtjax.model.merging.permutations import matching, permuted, pieces_of
from mtjax.types import LanguageModel, Params


@MERGES.register("weight_matching")
@dataclasses.dataclass(frozen=True)
class WeightMatching:
    """Mean of models whose neurons and heads were first brought into the order of the first model.

    Formula: for each model but the first, the permutations of residual stream, hidden neurons and whole heads (a
    key/value head with its query heads) that make the inner product with the first model's weights large
    (`permutations.matching`); they do not change its function. Then the mean. Of two models the loss barrier
    `max_t L(theta_t) - (1 - t) L(theta_0) - t L(theta_1)` is said before and after, where problems are given.

    Want it to look at whether two models lie in one basin, or for models without a common start; the mean of
    independently trained language models stays a poor model at these sizes. It has to hold two models on the host, and
    does products of the width squared times the number of parameters.

    Source: Ainsworth et al., "Git Re-Basin", ICLR 2023 (arXiv 2209.04836); Ito et al., "Analysis of Linear Mode
    Connectivity via Permutation-Based Weight Matching", ICLR 2025 (arXiv 2402.04051).
    """

    fewest: ClassVar[int] = 2
    measures: ClassVar[bool] = True

    passes: Annotated[int, Ge(1)] = 100  # Rounds over all permutations at most.
    points: Annotated[int, Ge(3)] = 11  # Points of each line to measure, both ends included.

    def __call__(self, model: LanguageModel, given: Sequence[Given], measure: Measure | None) -> Merged:
        pieces_of(model)  # refuses before anything is loaded
        first = given[0].load()
        matched, notes, points = [given[0]], [], list[Point]()
        for each in given[1:]:
            params = each.load()
            found = matching(model, first, params, self.passes)
            own = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), permuted(model, params, found), first)
            moved = sum(int((order != np.arange(len(order))).any()) for order in found.values())
            notes.append(
                f"{each.name}: {moved} of {len(found)} permutations moved something; distance to {given[0].name} "
                f"{distance(first, params):.5g} before, {distance(first, own):.5g} after"
            )
            matched.append(Given(f"{each.name} (matched)", functools.partial(_same, own)))
        if measure is not None and len(given) == 2:
            for line, pair in (("before matching", given), ("after matching", matched)):
                own_points = along(pair, self.points, measure, line)
                notes += said(own_points, f" {line}")
                points += own_points
        names = ", ".join(each.name for each in given[1:])
        about = f"Mean of {given[0].name} and, with their weights matched to it, {names}."
        return Merged(mean_of(matched), about, points, notes)


def _same(params: Params) -> Params:
    return params


def distance(a: Params, b: Params) -> float:
    """Euclidean distance of the parameters of two models."""
    square: Any = jax.tree.map(lambda x, y: float(((x - y) ** 2).sum()), a, b)
    return float(np.sqrt(sum(jax.tree.leaves(square))))
