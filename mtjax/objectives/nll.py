"""Plain fine-tuning: the negative log-likelihood of the target tokens."""

import dataclasses

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome
from mtjax.types import Batch, Policy


@base.OBJECTIVES.register("nll")
@dataclasses.dataclass(frozen=True)
class Nll(base.Settings):
    """Negative log-likelihood (cross-entropy), the loss of supervised fine-tuning.

    Formula: `L = -sum_t w_t log p(y_t | y_<t) / sum_t w_t` with `w = batch.weights`, in nats per unit of weight.

    Want it as the baseline of every comparison, and for any task: what counts is decided by the task's weights.

    Shapes: `tokens`, `weights`, `segments` are `(B, T)`, or have further axes that are treated alike.
    """

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch; its `entropy`, `top1` and the histogram `confidence/...` of whole examples."""
        scores = policy.scores(batch)
        loss, metrics = base.weighted_nll(scores, batch, batch.weights)
        ours = sequences.sequence_scores(scores, batch)
        return loss, metrics | sequences.confidence(ours.logprob, ours.live)
