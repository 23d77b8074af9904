"""Whether a model is right where the answer is a likely text, and wrong where it is not."""

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval

PENALTY = 0.01
"""Of the squared slope, as if in units of one answer: without it the slope of separable data is infinite."""


def logistic_slope(x: Float[np.ndarray, "R N"], right: Float[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
    """The slope of a logistic regression of `right` on `x`, of each row, in units of log odds per unit of x.

    Fitted by Newton's method with the penalty `PENALTY slope^2 / 2` on the slope alone. NaN where x is constant.
    """
    center = x - x.mean(axis=1, keepdims=True)
    share = np.clip(right.mean(axis=1), 1e-3, 1 - 1e-3)
    level, slope = np.log(share / (1 - share)), np.zeros(len(x))
    for _ in range(50):
        z = np.clip(level[:, None] + slope[:, None] * center, -35, 35)
        p = 1 / (1 + np.exp(-z))
        miss, w = right - p, p * (1 - p) + 1e-9
        g0, g1 = miss.sum(axis=1), (miss * center).sum(axis=1) - PENALTY * slope
        h00, h01, h11 = w.sum(axis=1), (w * center).sum(axis=1), (w * center**2).sum(axis=1) + PENALTY
        det = np.maximum(h00 * h11 - h01**2, 1e-12)
        down, up = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
        level, slope = level + np.clip(down, -2, 2), slope + np.clip(up, -2, 2)
    slope = np.where(np.ptp(right, axis=1) == 0, 0.0, slope)
    return np.where(np.ptp(x, axis=1) == 0, np.nan, slope)


@METRICS.register("probability_slope")
@dataclasses.dataclass(frozen=True)
class ProbabilitySlope:
    """Accuracy against the probability that the model gives the gold answer as a text, without the question.

    Returns: `answer_logprob`, the mean log-probability of gold answers (nats); `accuracy_likely` and
    `accuracy_unlikely`, greedy accuracy in the upper and the lower third by it; `likely_gap`, their difference; and
    `probability_slope`, the change of the log odds of being right for one standard deviation of log-probability, by
    logistic regression. A model that does the task has slope 0 (also one that is always right or always wrong); one
    that guesses likely texts a positive one. Longer answers are less likely: compare answers of similar length, as
    those of `data.source:embers`.

    Source: McCoy et al., "Embers of Autoregression: Understanding Large Language Models Through the Problem They are
    Trained to Solve", 2023 (arXiv 2309.13638); which scores outputs by GPT-2, and here the evaluated model does.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy", "prior")
    order: ClassVar[int] = 64
    by_default: ClassVar[bool] = False
    asks: ClassVar[str] = "the gold answers are all equally likely: take problems with different answers"

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.prior is not None
        log, right = evaluation.prior, evaluation.best.right[:, 0].astype(float)
        if np.ptp(log) == 0:
            return {}
        z = (log - log.mean()) / log.std()
        slope = settings.statistic(lambda index: logistic_slope(z[index], right[index]), len(z))
        order, third = np.lexsort((np.array(evaluation.ids), log)), max(len(log) // 3, 1)
        unlikely, likely = right[order[:third]], right[order[-third:]]
        gap = likely.mean() - unlikely.mean()
        thirds = settings.statistic(lambda index: gap_of(log[index], right[index], third), len(log))
        out = {
            "answer_logprob": settings.interval(log),
            "accuracy_likely": settings.interval(likely),
            "accuracy_unlikely": settings.interval(unlikely),
        }
        if thirds is not None:
            out["likely_gap"] = thirds._replace(mean=float(gap), low=min(thirds.low, gap), high=max(thirds.high, gap))
        return out | ({"probability_slope": slope} if slope is not None else {})


def gap_of(log: np.ndarray, right: np.ndarray, third: int) -> np.ndarray:
    """Accuracy in the upper less that in the lower third, of each row."""
    order = np.argsort(log, axis=1, kind="stable")
    sorted_right = np.take_along_axis(right, order, 1)
    gap: np.ndarray = sorted_right[:, -third:].mean(axis=1) - sorted_right[:, :third].mean(axis=1)
    return gap
