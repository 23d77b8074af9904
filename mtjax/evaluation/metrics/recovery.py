"""Whether what a model has unlearnt comes back when the prompt says it."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval

KINDS = ("closed", "hint", "open")
"""Prompts of a fact: with nothing, with a part of it, and with the fact; the last part of `Problem.source`."""


@METRICS.register("recovery")
@dataclasses.dataclass(frozen=True)
class Recovery:
    """Accuracy on facts that the prompt does not tell, tells in part, and tells: a probe of unlearning.

    Problems say by their source which they are: `facts/closed`, `facts/hint` or `facts/open`, as those of
    `data.source:made_facts`.

    Returns: `closed_book`, `with_hint` and `in_context`, greedy accuracy of each kind that there is; and
    `recovered = in_context - closed_book`, what comes back. After unlearning, a low `closed_book` alone does not show
    that the model cannot use the fact.

    Source: Shumailov et al., "UnUnlearning: Unlearning is not Sufficient for Content Regulation in Advanced Generative
    AI", 2024 (arXiv 2407.00106), a position paper; the measure is ours.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy",)
    order: ClassVar[int] = 70
    by_default: ClassVar[bool] = False

    @staticmethod
    def check(problems: Sequence[Problem]) -> None:
        """InputError where no problem says which kind it is."""
        if not any(one.source.rpartition("/")[2] in KINDS for one in problems):
            raise InputError(
                "no problem has a source that ends in /closed, /hint or /open; take data.source:made_facts, or give "
                "records such a `source`"
            )

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        right = evaluation.best.right[:, 0].astype(float)
        kind = np.array([source.rpartition("/")[2] for source in evaluation.sources])
        names = dict(zip(KINDS, ("closed_book", "with_hint", "in_context"), strict=True))
        out = {name: settings.interval(right[kind == one]) for one, name in names.items() if (kind == one).any()}
        if {"closed_book", "in_context"} <= set(out):

            def difference(index: np.ndarray) -> np.ndarray:
                means = []
                for one in ("open", "closed"):
                    own = kind[index] == one
                    count, hits = own.sum(axis=1), (right[index] * own).sum(axis=1)
                    means.append(np.divide(hits, count, out=np.full(len(index), np.nan), where=count > 0))
                return np.asarray(means[0] - means[1])

            found = settings.statistic(difference, len(right))
            out |= {"recovered": found} if found is not None else {}
        return out
