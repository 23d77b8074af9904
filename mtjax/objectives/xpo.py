"""XPO: DPO on a sample of the policy and one of the reference, with a bonus for leaving the latter."""

import dataclasses
import math
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive
from mtjax.objectives.dpo import dpo_loss
from mtjax.types import Batch, Policy


@base.OBJECTIVES.register("xpo")
@dataclasses.dataclass(frozen=True)
class Xpo(base.Settings):
    """Exploratory preference optimisation: online DPO, and an optimism that makes the reference's text less likely.

    Formula: the mean over pairs of `dpo_loss(h_w, h_l) + optimism log pi(y_ref)`, with the log-ratios h of the better
    and the worse of two texts by their rewards. The first text of a group is the policy's, the second, `y_ref`, the
    reference's. Pairs with equal rewards are left out.

    Want it when pairs are drawn anew while training, one text from the policy and one from the reference, so that the
    policy tries what the reference never says. `optimism=0` is online DPO, whoever wrote the texts. On recorded texts
    that the policy has left behind the optimism has no end: a log-probability can always fall.

    Shapes: the task `group` with `data.task.size=2`, batches `(B, 2, T)`. The mean counts pairs. Metrics: see
    `mtjax.objectives.sequences.pair_metrics`; `logprob_reference`, in nats per text, `policy_wins`, `equal`.

    Source: Xie et al., "Exploratory Preference Optimization: Harnessing Implicit Q*-Approximation for Sample-Efficient
    RLHF", 2024 (arXiv 2405.21046), as in TRL, whose defaults these are.
    """

    task = "group"
    needs_reference = True
    sides: ClassVar[int] = 2

    beta: Positive = 0.1  # Strength of the implicit KL penalty.
    optimism: NonNegative = 1e-5  # Factor on the log-probability of the reference's text; the paper's alpha.
    kind: Literal["sigmoid", "ipo"] = "sigmoid"  # Which loss of the pair; beta is the tau of ipo.

    @property
    def at_reference(self) -> float | None:
        """Log 2, or 1 / (4 beta^2) of ipo, without optimism; else it depends on the texts."""
        if self.optimism:
            return None
        return math.log(2) if self.kind == "sigmoid" else 1 / (4 * self.beta**2)

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        shape = tuple(batch.tokens.shape)
        if len(shape) != 3 or shape[1] != 2:
            raise InputError(
                f"objective 'xpo' compares two candidates: got tokens of shape {shape}, expected (B, 2, T); set "
                "data.task:group and data.task.size=2"
            )
        reward = sequences.segment_extra(batch, "reward", "xpo", "set data.task:group and data.task.size=2")
        ours = sequences.sequence_scores(policy.scores(batch), batch)
        theirs = sequences.reference_scores(reference, batch, "xpo")
        first, swap = reward[:, 0] > reward[:, 1], lambda x: x[:, ::-1]
        better = lambda x: jnp.where(first[:, None], x, swap(x))
        differ = jnp.broadcast_to((reward[:, 0] != reward[:, 1])[:, None], ours.live.shape)
        decided = lambda sides: sequences.as_pairs(jax.tree.map(better, sides._replace(live=sides.live & differ)))
        pairs, compared = decided(ours), decided(theirs)
        chosen = pairs.chosen.logprob - compared.chosen.logprob
        rejected = pairs.rejected.logprob - compared.rejected.logprob
        written = jnp.where(pairs.live, ours.logprob[:, 1], 0)
        loss = dpo_loss(chosen, rejected, beta=self.beta, kind=self.kind) + self.optimism * written
        metrics = sequences.pair_metrics(pairs, self.beta * chosen, self.beta * rejected)
        both = jnp.all(ours.live, axis=1)
        metrics |= {
            "logprob_reference": sequences.mean_of(written, pairs.live),
            "policy_wins": sequences.share_of(first, pairs.live),
            "equal": sequences.share_of(~differ[:, 0], both),
        }
        return sequences.mean_of(loss, pairs.live), metrics
