"""AsymRE: REINFORCE on texts of any origin, with a baseline below the mean reward."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome, Sums
from mtjax.types import Batch, Mean, Policy


@base.OBJECTIVES.register("asymre")
@dataclasses.dataclass(frozen=True)
class Asymre(base.Settings):
    """Asymmetric REINFORCE: right texts raised, wrong ones lowered by less than the mean reward alone would.

    Formula: the mean over texts of `-(R - V) log pi(y | x)`, a sum over targets, with reward R 1 for right and 0 for
    wrong texts. `V = mean + delta`: the mean reward of the batch, or of the text's own problem
    (`baseline="success_rate"`), which is the paper's mean over the samples of a prompt.

    Want it for texts of which nobody recorded who wrote them: there is no ratio, no clip and no reference. A delta
    below 0 leans on right texts; above 0 it unlearns and collapses. Where all texts are wrong, V is delta and they are
    *imitated* with weight `-delta`: leave problems out that are never solved, or set delta to 0 for them.

    Needs `extras["segment_polarity"]`: see `mtjax.objectives.npo.Npo`; `baseline="success_rate"` also needs
    `data.task.success_rate=True`.

    Metrics: log-probability of right and wrong texts apart, with `R - V` as the reward; `wrong_share`, `baseline`.

    Source: Arnal et al., "Asymmetric REINFORCE for off-Policy Reinforcement Learning", 2025 (arXiv 2506.20520), as
    re-implemented in Trinity-RFT, whose delta is the default.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too

    delta: base.Number = -0.1  # Added to the mean reward; below 0 for texts that the present policy did not write.
    baseline: Literal["batch", "success_rate"] = "batch"  # Whose mean reward: the batch's, or the problem's own.

    @property
    def statistics(self) -> Callable[..., dict[str, Mean]]:
        """The mean reward of the batch, where it is the baseline."""
        if self.baseline != "batch":
            raise AttributeError("statistics")
        return self._rewards

    def _rewards(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        right, live = sequences.is_right(batch, "asymre"), sequences.live_texts(batch)
        return {"reward": sequences.share_of(right, live)}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        right = sequences.is_right(batch, "asymre")
        ours = sequences.sequence_scores(policy.scores(batch), batch)
        known = self._rewards(policy, batch) if statistics is None else statistics
        mean: Float[Array, "..."] = (
            known["reward"].value
            if self.baseline == "batch"
            else sequences.segment_extra(
                batch, "success_rate", "asymre", "set data.task.success_rate=True, or objective.baseline=batch"
            )
        )
        value = jnp.broadcast_to(jax.lax.stop_gradient(mean) + self.delta, ours.logprob.shape)
        advantage = jnp.asarray(right, jnp.float32) - value
        metrics = sequences.polarity_metrics(ours, advantage, right)
        metrics["baseline"] = sequences.mean_of(value, ours.live)
        return sequences.mean_of(-advantage * ours.logprob, ours.live), metrics
