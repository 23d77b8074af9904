"""What drawing again until a verifier accepts can reach."""

import dataclasses
from functools import partial
from typing import ClassVar

import numpy as np

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.evaluation.resampling import Tries, reached
from mtjax.reporting.intervals import Interval

LOSSES = (1, 2, 4, 8)
"""What a wrong answer that is accepted costs, in units of a right one."""

MOST = 100  # tries


@METRICS.register("resampling")
@dataclasses.dataclass(frozen=True)
class Resampling:
    """The limit of resampling until a second grader accepts, and the best number of tries.

    The grader is taken for the truth and `second_grader` for the verifier at test time. Each problem is a
    kind of its own, with the shares of its samples that are accepted and right (a), accepted and wrong (b), and
    rejected; a sample that a grader cannot decide is not accepted, or not right. More tries add hard problems, of which
    accepted answers are wrong more often.

    Returns: `completeness`, P(accept | right), and `soundness`, P(reject | wrong), of all samples, where there are any;
    `accepted_accuracy@1` and `accepted_accuracy@100`, the share of right ones among answers that are accepted within so
    many tries; and `best_tries@V`, the number of tries, up to 100, with the highest expected value where a right answer
    is worth 1 and a wrong one that is accepted -V. Shares of few samples are rough: take 16 or more.

    Source: Stroebl et al., "Inference Scaling fLaws: The Limits of LLM Resampling with Imperfect Verifiers", 2024
    (arXiv 2411.17501); the exact sum, see `mtjax.evaluation.resampling`.
    """

    needs: ClassVar[tuple[Need, ...]] = ("samples", "accepted")
    order: ClassVar[int] = 58
    by_default: ClassVar[bool] = False

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        assert evaluation.accepted is not None
        right, taken = evaluation.sampled.right, evaluation.accepted
        out: dict[str, Interval] = {}
        for name, of, judged in (("completeness", right, taken), ("soundness", ~right, ~taken)):
            if of.any():
                out[name] = settings.ratio((of & judged).sum(axis=1), of.sum(axis=1))
        chances = Tries(*((mask.mean(axis=1)) for mask in (right & taken, ~right & taken, ~taken)))
        a, b = chances.accepted_right, chances.accepted_wrong
        many = np.stack([reached(chances, k) for k in range(1, MOST + 1)])  # [K, N]
        for k in (1, MOST):
            if (a + b).any():
                out[f"accepted_accuracy@{k}"] = settings.ratio(a * many[k - 1], (a + b) * many[k - 1])
        for loss in LOSSES:
            worth = (a - loss * b) * many
            found = settings.statistic(partial(best_of, worth), len(a))
            assert found is not None
            out[f"best_tries@{loss}"] = found
        return out


def best_of(worth: np.ndarray, index: np.ndarray) -> np.ndarray:
    """For each resample of problems, the number of tries with the highest mean value; 0 if none is above 0."""
    counts = np.stack([np.bincount(row, minlength=worth.shape[1]) for row in index])
    values = np.round(counts @ worth.T / index.shape[1], 12)  # [R, K]
    best: np.ndarray = np.where(values.max(axis=1) > 0, values.argmax(axis=1) + 1, 0).astype(float)
    return best
