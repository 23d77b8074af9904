"""The uniform soup: the mean of the parameters of several models."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

from mtjax.errors import InputError
from mtjax.model.merging.base import MERGES, Given, Measure, Merged, Point, mixed
from mtjax.types import LanguageModel


@MERGES.register("soup")
@dataclasses.dataclass(frozen=True)
class Soup:
    """Mean of the parameters of fine-tunings of one model.

    Formula: `theta = sum_i w_i theta_i / sum_i w_i`, w from `shares`, all equal by default. A soup of one model is that
    model. Checkpoints of one run (`RUN/checkpoints/500`) may be averaged too.

    Want it for runs that started from the same model and differ in seed, data order or learning rate. Means of models
    without a common start are bad models: see `weight_matching`.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022 (arXiv 2203.05482).
    """

    fewest: ClassVar[int] = 1
    measures: ClassVar[bool] = False

    shares: tuple[float, ...] = ()  # How much each model counts, one number for each; empty counts all alike.

    def __call__(self, model: LanguageModel, given: Sequence[Given], measure: Measure | None) -> Merged:
        shares = self.shares or (1.0,) * len(given)
        if len(shares) != len(given) or not all(0 <= share < math.inf for share in shares) or not sum(shares):
            raise InputError(
                f"shares={' '.join(f'{share:g}' for share in shares)}: expected {len(given)} numbers of at least 0, "
                "one for each model, not all 0"
            )
        params = mixed(given, [share / sum(shares) for share in shares])
        points = [Point("soup", measure(params))] if measure else []
        each = ", ".join(f"{share / sum(shares):.3g} of {one.name}" for share, one in zip(shares, given, strict=True))
        return Merged(params, f"Weighted mean of the parameters: {each}.", points)
