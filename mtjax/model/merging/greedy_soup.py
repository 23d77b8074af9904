"""The greedy soup: models join the mean as long as it does not get worse."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from mtjax.errors import InputError
from mtjax.model.merging.base import MERGES, Given, Measure, Merged, Point, mean_of, score_of
from mtjax.types import LanguageModel


@MERGES.register("greedy_soup")
@dataclasses.dataclass(frozen=True)
class GreedySoup:
    """Mean of those models that do not make it worse.

    Formula: the models in falling order of `choose`; each joins if the mean of the parameters with it is at least as
    good as the mean without it. Never worse than the best model, on the problems that it was chosen by.

    Want it where some runs failed: the uniform soup takes them in. Choose on other problems than those that you report.

    Source: Wortsman et al., "Model soups", ICML 2022, recipe 1 (arXiv 2203.05482).
    """

    fewest: ClassVar[int] = 2
    measures: ClassVar[bool] = True

    choose: str = "pass@1"  # The number that decides, as `mtjax.evaluate` calls it; nats are better if lower.

    def __call__(self, model: LanguageModel, given: Sequence[Given], measure: Measure | None) -> Merged:
        if measure is None:
            raise InputError("greedy_soup compares models: say on which problems, with a config or data.source:KIND")
        alone, scores = [], []
        for each in given:
            alone.append(Point(each.name, measure(each.load())))
            scores.append(score_of(alone[-1].numbers, self.choose))
        order = sorted(range(len(given)), key=lambda number: -scores[number])
        taken, best, points = [given[order[0]]], scores[order[0]], [alone[number] for number in order]
        for number in order[1:]:
            tried = Point(
                f"mean of {len(taken) + 1}, with {given[number].name}", measure(mean_of([*taken, given[number]]))
            )
            points.append(tried)
            if score_of(tried.numbers, self.choose) >= best:
                taken.append(given[number])
                best = score_of(tried.numbers, self.choose)
        names = ", ".join(each.name for each in taken)
        about = f"Greedy soup, the mean of {len(taken)} of {len(given)} models by {self.choose}: {names}."
        return Merged(mean_of(taken), about, points)
