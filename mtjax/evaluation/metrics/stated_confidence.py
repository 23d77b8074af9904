"""Whether the confidence that a model states can be believed."""

import dataclasses
from typing import ClassVar

import numpy as np

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.evaluation.rewards.confidence import stated_confidence
from mtjax.reporting.intervals import Interval
from mtjax.reporting.ranking import auroc


@METRICS.register("stated_confidence")
@dataclasses.dataclass(frozen=True)
class StatedConfidence:
    """Confidences from 0 to 10 that greedy answers state (`Confidence: 7`), against whether they are right.

    Returns: `states_confidence`, the share of answers that state one; of those `stated_confidence`, the mean from 0 to
    1; `stated_gap`, the mean distance from correctness, answer by answer, which the paper's code reports as ECE;
    `stated_ece`, the expected calibration error with a bin for each of the eleven values; and `stated_auroc`, the
    chance that a right answer states more than a wrong one.

    Source: Xu et al., "SaySelf: Teaching LLMs to Express Confidence with Self-Reflective Rationales", EMNLP 2024 (arXiv
    2405.20974); `xu1868/SaySelf`, `evaluation/evaluate.py`.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy",)
    order: ClassVar[int] = 52
    by_default: ClassVar[bool] = False
    asks: ClassVar[str] = (
        "no greedy answer states a confidence from 0 to 10 (`Confidence: 7`): ask for one in data.task.template, or "
        "train with curation:stated_confidence of `python -m mtjax.rounds`"
    )

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        found = [stated_confidence(row[0]) for row in evaluation.best.texts]
        told = np.array([one is not None for one in found])
        if not told.any():
            return {}
        sure = np.array([one for one in found if one is not None]) / 10
        right = evaluation.best.right[told, 0].astype(float)
        errors = settings.statistic(lambda index: binned(sure[index], right[index]), len(sure))
        ranks = settings.statistic(lambda index: auroc(sure[index], right[index]), len(sure))
        out = {
            "states_confidence": settings.interval(told),
            "stated_confidence": settings.interval(sure),
            "stated_gap": settings.interval(np.abs(sure - right)),
        }
        return out | {name: one for name, one in (("stated_ece", errors), ("stated_auroc", ranks)) if one is not None}


def binned(sure: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`stated_ece` of each row: confidences that are equal are a bin."""
    tenths = np.rint(sure * 10).astype(int)
    rows = np.zeros((len(sure), 11))
    for value in range(11):
        own = tenths == value
        rows[:, value] = np.abs(((right - value / 10) * own).sum(axis=1))
    result: np.ndarray = rows.sum(axis=1) / sure.shape[1]
    return result
