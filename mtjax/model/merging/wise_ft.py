"""WiSE-FT: a point on the straight line between a start model and its fine-tuning."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from mtjax.errors import InputError
from mtjax.model.merging.base import MERGES, Given, Measure, Merged, Point, along, mixed, said, score_of
from mtjax.types import LanguageModel


@MERGES.register("wise_ft")
@dataclasses.dataclass(frozen=True)
class WiseFt:
    """Interpolation between two models, START and END, with everything measured along it.

    Formula: `theta(a) = (1 - a) theta_START + a theta_END`. Without `fraction`, a is that of the measured points with
    the best `choose`. The loss barrier is said where the problems have solutions.

    Want it after fine-tuning that raised pass@1 and lowered pass@k: the line says whether a point before the end has
    enough of both. Choose on other problems than those that you report.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022 (arXiv 2109.01903).
    """

    fewest: ClassVar[int] = 2
    measures: ClassVar[bool] = True

    fraction: Annotated[float, Ge(0), Le(1)] | None = None  # Which point to take; None chooses by measurement.
    points: Annotated[int, Ge(2)] = 11  # Points to measure, both ends included.
    choose: str = "pass@1"  # The number that decides, as `mtjax.evaluate` calls it; nats are better if lower.

    def __call__(self, model: LanguageModel, given: Sequence[Given], measure: Measure | None) -> Merged:
        if len(given) != 2:
            raise InputError(f"wise_ft takes two models, START and END; got {len(given)}")
        if measure is None and self.fraction is None:
            raise InputError(
                "wise_ft chooses a point by measurement: say on which problems, with a config or data.source:KIND, or "
                "give the point, such as --fraction=0.5"
            )
        choose = self.choose if self.fraction is None else None
        points: list[Point] = along(given, self.points, measure, choose=choose) if measure else []
        fraction = self.fraction
        if fraction is None:
            fraction = max(points, key=lambda point: score_of(point.numbers, self.choose)).share or 0.0
        how = "as asked" if self.fraction is not None else f"the best of {self.points} points by {self.choose}"
        about = f"{fraction:g} of the way from {given[0].name} to {given[1].name}, {how}."
        return Merged(mixed(given, (1 - fraction, fraction)), about, points, said(points))
