"""Whether a model that may refuse answers what it knows: average precision."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval
from mtjax.reporting.ranking import average_precision
from mtjax.sampling.aggregation.base import token_count


def willing_confidence(c_pred: Sequence[float] | np.ndarray, c_sure: Sequence[float] | np.ndarray) -> np.ndarray:
    """`0.5 c_pred + 0.5 c_sure`, by which R-Tuning ranks answers.

    >>> willing_confidence([0.9], [0.2]).tolist()
    [0.55]
    """
    mixed: np.ndarray = (np.asarray(c_pred, float) + np.asarray(c_sure, float)) / 2
    return mixed


def answer_confidence(logprob: float, tokens: int) -> float:
    """The geometric mean of the probabilities of an answer's tokens, its end token included."""
    return float(np.exp(logprob / max(tokens, 1)))


@METRICS.register("refusal")
@dataclasses.dataclass(frozen=True)
class Refusal:
    """Average precision of right answers ranked by confidence, and accuracy where the model says that it is sure.

    Formula: after the greedy answer, the question of `mtjax.data.sureness` and the words "I am", `c_sure = P(sure) /
    (P(sure) + P(unsure))`; `c_pred` is the geometric mean of the probabilities of the answer's tokens; answers are
    ranked by `(c_pred + c_sure) / 2`, and `refusal_ap = sum_k (R_k - R_(k-1)) P_k` with right answers as positives.

    Returns: `refusal_ap`; `willing`, the share of answers with `c_sure > 0.5`; `willing_accuracy`, the accuracy of
    those. Any model can be asked; one that R-Tuning trained (curation `sureness`) knows the question.

    Source: Zhang et al., "R-Tuning: Instructing Large Language Models to Say 'I Don't Know'", NAACL 2024 (arXiv
    2311.09677), section 3.3; `shizhediao/R-Tuning`, `results/calculate_ap.py`. The wording of the question is ours.
    """

    needs: ClassVar[tuple[Need, ...]] = ("greedy", "sureness")
    order: ClassVar[int] = 54
    by_default: ClassVar[bool] = False
    asks: ClassVar[str] = "no greedy answer is right, so there is nothing to rank first: take problems that it solves"

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.sureness is not None
        sure: Float[np.ndarray, " N"] = evaluation.sureness
        best = evaluation.best
        right = best.right[:, 0]
        pred = [answer_confidence(row[0].logprob or 0.0, token_count(row[0]) or 1) for row in best.samples]
        mixed = willing_confidence(pred, sure)
        found = settings.statistic(lambda index: average_precision(mixed[index], right[index]), len(right))
        if found is None:
            return {}
        willing = sure > 0.5
        out = {"refusal_ap": found, "willing": settings.interval(willing)}
        if willing.any():
            out["willing_accuracy"] = settings.ratio(right & willing, willing)
        return out
