"""TPO: a preference between two texts, held by the likelihood of a third one that is known to be good."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Sums
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def tpo_loss(chosen: ArrayLike, rejected: ArrayLike, *, beta: ArrayLike, gamma: ArrayLike = 0.0) -> Float[Array, "..."]:
    """`-log sigmoid(beta (chosen - rejected) - gamma)` of log-probabilities, elementwise.

    >>> round(float(tpo_loss(-12.0, -15.0, beta=0.01)), 4)  # -log sigmoid(0.03)
    0.6783
    """
    return -log_sigmoid(wide(beta) * (wide(chosen) - wide(rejected)) - wide(gamma))


@base.OBJECTIVES.register("tpo")
@dataclasses.dataclass(frozen=True)
class Tpo(base.Settings):
    """Triple preference optimisation: chosen over rejected without a reference, and cross-entropy on a gold text.

    Formula: the mean over triples of `tpo_loss` plus `gold_weight` times the cross-entropy of gold texts: the mean over
    all their tokens in the batch (`nll_unit="token"`, as in TRL), or of each triple. Kind `sigmoid` takes sums of
    log-probabilities; `mean` means per token, with `gamma` as margin: the paper's TPO-L, for which beta is larger.

    Want it when there is a solution that was written by somebody beside two samples of which one is better: the samples
    give the contrast, the written one holds the policy, and no reference is needed.

    Shapes: the task `triplet`, batches `(B, 3, T)` of gold, chosen and rejected; set `data.task.anchors=first` and
    `data.task.prompt_weight=0`. A triple with a side missing is left out. The mean counts triples. Metrics: see
    `mtjax.objectives.sequences.pair_metrics`, the reward being beta times the log-probability; `nll_gold`.

    Source: Saeidi et al., "Triple Preference Optimization: Achieving Better Alignment using a Single Step
    Optimization", 2024 (arXiv 2405.16681), known to us by TRL, whose defaults these are.
    """

    task = "triplet"

    beta: Positive = 0.01  # Scale of the difference of log-probabilities.
    kind: Literal["sigmoid", "mean"] = "sigmoid"  # Sums of log-probabilities, or means per token (TPO-L).
    gamma: NonNegative = 0.5  # Kind mean: what the scaled difference should exceed.
    gold_weight: NonNegative = 1.0  # Factor on the cross-entropy of gold texts; the paper's alpha.
    nll_unit: Literal["triple", "token"] = "token"  # Mean per token of each triple, or over all gold tokens.

    def _texts(self, policy: Policy | None, batch: Batch) -> tuple[sequences.Pairs, sequences.Sequences]:
        """Chosen and rejected, and the gold texts; a triple is live where all three are. Without policy, counts."""
        shape = tuple(batch.tokens.shape)
        if len(shape) != 3 or shape[1] != 3:
            raise InputError(
                f"objective 'tpo' compares triples: got tokens of shape {shape}, expected (B, 3, T); set "
                "data.task:triplet"
            )
        nothing = jnp.zeros(batch.tokens.shape, jnp.float32)
        scores = sequences.TokenScores(nothing, nothing, nothing) if policy is None else policy.scores(batch)
        sides = sequences.sequence_scores(scores, batch)
        complete = jnp.all(sides.live, axis=1, keepdims=True)
        sides = sequences.Sequences(
            jnp.where(complete, sides.logprob, 0), jnp.where(complete, sides.length, 1), sides.live & complete
        )
        return sequences.as_pairs(jax.tree.map(lambda x: x[:, 1:], sides)), jax.tree.map(lambda x: x[:, 0], sides)

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        """How many triples and how many gold targets (by weight) the batch has, as totals."""
        pairs, gold = self._texts(None, batch)
        return {
            "triples": sequences.share_of(pairs.live, pairs.live),
            "tokens": sequences.mean_of(gold.length, gold.live),
        }

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        pairs, gold = self._texts(policy, batch)
        means = self.kind == "mean"
        chosen, rejected = (one.mean_logprob if means else one.logprob for one in (pairs.chosen, pairs.rejected))
        loss = tpo_loss(chosen, rejected, beta=self.beta, gamma=self.gamma if means else 0.0)
        nll = -gold.mean_logprob
        if self.nll_unit == "token":  # so that the mean over triples is that over all gold tokens
            known = self.statistics(policy, batch) if statistics is None else statistics
            nll = -gold.logprob * known["triples"].total / jnp.maximum(known["tokens"].total, 1e-6)
        metrics = sequences.pair_metrics(pairs, self.beta * chosen, self.beta * rejected)
        metrics["nll_gold"] = sequences.mean_of(nll, pairs.live)
        return sequences.mean_of(loss + self.gold_weight * nll, pairs.live), metrics
