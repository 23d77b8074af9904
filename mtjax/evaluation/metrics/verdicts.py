"""What is not known of the samples: undecided, without an answer, cut off."""

import dataclasses
from typing import ClassVar

from mtjax.evaluation.metrics.base import METRICS, Evaluation, MetricSettings, Need
from mtjax.reporting.intervals import Interval


@METRICS.register("verdicts")
@dataclasses.dataclass(frozen=True)
class VerdictShares:
    """Shares of samples that could not be decided, hold no answer, or did not end before `max_new_tokens`.

    Returns: `unknown`, `without_answer` and `cut`; where a sample is unknown also `pass@1_if_unknown_right`, the upper
    bound of pass@1; and where samples say nothing that can be graded `empty`, `reasoning` (a thought without an answer)
    and `filtered`.
    """

    needs: ClassVar[tuple[Need, ...]] = ("samples",)
    order: ClassVar[int] = 20

    def __call__(self, evaluation: Evaluation, settings: MetricSettings) -> dict[str, Interval]:
        found = evaluation.sampled
        shares = {"pass@1_if_unknown_right": found.right | found.unknown} if found.unknown.any() else {}
        shares |= {"unknown": found.unknown, "without_answer": found.without_answer, "cut": found.cut}
        silent = {why: found.silent(why) for why in ("empty", "reasoning", "filtered")}
        shares |= {why: share for why, share in silent.items() if share.any()}
        return {name: settings.interval(share.mean(axis=1)) for name, share in shares.items()}
