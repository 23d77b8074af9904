"""What is not known of the samples: undecided, without an answer, cut off."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings
from mtjax.reporting.intervals import Interval


@METRICS.register("verdicts")
@dataclasses.dataclass(frozen=True)
class VerdictShares:
    """Shares of samples that could not be decided, hold no answer, or did not end before `max_new_tokens`.

    Returns: `unknown`, `without_answer` and `cut`; where a sample is unknown also `pass@1_if_unknown_right`, the upper
    bound of pass@1.
    """

    needs_greedy: ClassVar[bool] = False
    order: ClassVar[int] = 20

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        """See the class."""
        sampled = evaluation.sampled
        shares = {
            "unknown": sampled.unknown,
            "without_answer": sampled.without_answer,
            "cut": ~evaluation.finished,
        }
        out = {}
        if sampled.unknown.any():
            out["pass@1_if_unknown_right"] = settings.interval((sampled.right | sampled.unknown).mean(axis=1))
        return out | {name: settings.interval(share.mean(axis=1)) for name, share in shares.items()}
