"""beta-DPO: beta follows the margins, and pairs with an unusual one are left out."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Array, Bool, Float, Int

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Running
from mtjax.objectives.dpo import dpo_loss
from mtjax.types import Batch, Mean, Policy

LEAST = 1e-3  # the smallest beta


class Margins(NamedTuple):
    """The pairs of the batch as numbers."""

    margin: Float[Array, "*N"]
    live: Bool[Array, "*N"]
    ids: Int[Array, "*N"]


class Choice(NamedTuple):
    """What the entire batch decides."""

    kept: Float[Array, "*N"]  # live pairs over kept ones where a pair is kept, and 0 where it is left out
    beta: Float[Array, "*N"]  # the same number for all


def moments(pairs: Margins) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and standard deviation (of the population) of the margins of the live pairs; 0 where there is none."""
    number = jnp.maximum(jnp.sum(pairs.live), 1)
    mean = jnp.sum(jnp.where(pairs.live, pairs.margin, 0)) / number
    return mean, jnp.sqrt(jnp.sum(jnp.where(pairs.live, (pairs.margin - mean) ** 2, 0)) / number)


def chosen_pairs(
    margin: Float[Array, " N"], live: Bool[Array, " N"], noise: Float[Array, " N"], *, keep: base.Number,
    center: Array | base.Number, deviation: Array | base.Number,
) -> Bool[Array, " N"]:  # fmt: skip
    """Which `floor(keep n)` of n live pairs are kept, drawn without replacement.

    The weight of a pair with margin m is `exp(-((m - center) / deviation)^2 / 2)`.
    `noise` is a Gumbel draw for each pair, or 0 for those of the largest weight (of equal ones the first). At least one
    pair is kept, and all are where the deviation is 0, as in the first step, when policy and reference agree.
    """
    safe = jnp.where(deviation > 0, deviation, 1)
    score = jnp.where(live, -(((margin - center) / safe) ** 2) / 2 + noise, -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-score, stable=True), stable=True)
    # A hair more than the product: 0.8 of 5 pairs is 4 in float32 as well.
    number = jnp.maximum(jnp.floor(keep * jnp.sum(live) * (1 + 1e-6)), 1)
    return live & ((rank < number) | (deviation <= 0))


@base.OBJECTIVES.register("beta_dpo")
@dataclasses.dataclass(frozen=True)
class BetaDpo(base.Settings):
    """DPO whose beta follows the margins: pairs that lie close together get a small beta, easy ones a large one.

    Formula: the mean over the kept pairs of `-log sigmoid(b m)`, with the margins m of log-ratios and the constant
    `b = max(beta (1 + scale (mean of kept m - M)), 1e-3)`. A share `keep` of the pairs is kept, drawn without
    replacement by the weight `exp(-((m - M) / S)^2 / 2)`. M and S are moving means over the steps, this one included,
    of the batch's mean margin and of its standard deviation: `M <- decay M + (1 - decay) mean`, both starting at 0, as
    in the released code. With `over="batch"` they are those of the batch.

    Want it when pairs differ much in how far apart their texts are, and some are outliers. The moving means are part of
    the training state: a resumed run goes on with them, and held-out losses have them. They lag behind while margins
    grow, so that beta is above its setting then; over the batch, beta moves only with what the filter leaves out.

    Shapes and metrics: as `mtjax.objectives.dpo.Dpo`, with `beta` and `kept_share`. Means and choice are of the entire
    batch, all devices and micro-batches.

    Source: Wu et al., "beta-DPO: Direct Preference Optimization with Dynamic beta", NeurIPS 2024 (arXiv 2407.08639),
    and its code.
    """

    task = "pair"
    needs_reference = True

    beta: Positive = 0.1  # beta of a batch with usual margins.
    scale: NonNegative = 0.6  # How strongly beta follows the margins; 0.6 in the released command, 0.01 in its config.
    keep: Annotated[base.Number, Gt(0), Le(1)] = 0.8  # Share of pairs that are kept.
    over: Literal["running", "batch"] = "running"  # Whose mean and deviation: moving means of the training, or here.
    decay: Annotated[base.Number, Ge(0), Lt(1)] = 0.9  # Share of the moving means that stays at each step.
    center: base.Number | None = None  # M, the usual margin in nats, in place of what is measured.
    draw: Literal["sample", "top"] = "sample"  # Draw pairs by their weight, or keep those of the largest weight.

    @property
    def at_reference(self) -> float | None:
        """log 2, whatever beta is."""
        return math.log(2)

    def _margins(self, policy: Policy, batch: Batch, reference: Policy | None) -> tuple[Margins, sequences.Pairs, Any]:
        ours = sequences.pair_scores(policy, batch, "beta_dpo")
        theirs = sequences.reference_pairs(reference, batch, "beta_dpo")
        chosen = ours.chosen.logprob - theirs.chosen.logprob
        rejected = ours.rejected.logprob - theirs.rejected.logprob
        ids = jnp.asarray(batch.extras["segment_id"])[:, 0] if "segment_id" in batch.extras else None
        ids = jnp.zeros(chosen.shape, jnp.int32) if ids is None else ids
        return Margins(chosen - rejected, ours.live, ids), ours, (chosen, rejected)

    def pool(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> Margins:
        """The margins; see `mtjax.types.Objective`."""
        return self._margins(policy, batch, reference)[0]

    @property
    def running(self) -> tuple[str, ...]:
        """The moving means of margin and deviation, where they are asked for."""
        return ("margin_mean", "margin_deviation") if self.over == "running" else ()

    def advance(self, running: Mapping[str, Any], found: Margins) -> dict[str, Any]:
        """The moving means after another batch; one without pairs changes nothing."""
        own = dict(zip(("margin_mean", "margin_deviation"), moments(found), strict=True))
        kept = jnp.where(jnp.any(found.live), self.decay, 1.0)
        return {name: kept * running[name] + (1 - kept) * value for name, value in own.items()}

    def resolve(self, pooled: Margins, key: Any, running: Running = None) -> Choice:
        """Which pairs are kept, and beta; without `running` by mean and deviation of the batch."""
        margin, live, ids = (x.ravel() for x in pooled)
        number = jnp.maximum(jnp.sum(live), 1)
        mean, deviation = moments(pooled)
        if running is not None:
            mean, deviation = running["margin_mean"], running["margin_deviation"]
        center = mean if self.center is None else jnp.float32(self.center)
        # By the pair's own number, so that the draw does not depend on how the batch is split.
        own = jax.vmap(lambda one: jax.random.gumbel(jax.random.fold_in(key, one)))
        noise = own(ids) if self.draw == "sample" else jnp.zeros_like(margin)
        kept = chosen_pairs(margin, live, noise, keep=self.keep, center=center, deviation=deviation)
        among = jnp.maximum(jnp.sum(kept), 1)
        beta = self.beta * (1 + self.scale * (jnp.sum(jnp.where(kept, margin, 0)) / among - center))
        factor = jnp.where(kept, number / among, 0)
        every = jnp.broadcast_to(jnp.maximum(beta, LEAST), margin.shape)
        return Choice(factor.reshape(pooled.margin.shape), every.reshape(pooled.margin.shape))

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, pooled: Any = None,
        running: Running = None,
    ) -> Outcome:  # fmt: skip
        """The loss of the batch, and what to watch; without `pooled` the batch counts as the entire one."""
        alone = lambda: base.pooled_alone(self, policy, batch, reference, key, running)
        choice = alone() if pooled is None else Choice(*pooled)
        margins, ours, ratios = self._margins(policy, batch, reference)
        loss = choice.kept * dpo_loss(margins.margin, 0.0, beta=choice.beta)
        metrics = sequences.pair_metrics(ours, *(choice.beta * ratio for ratio in ratios))
        metrics |= {"beta": sequences.mean_of(choice.beta, ours.live)}
        metrics |= {"kept_share": sequences.share_of(choice.kept > 0, ours.live)}
        if running:
            metrics |= {
                name: sequences.mean_of(jnp.broadcast_to(x, loss.shape), ours.live) for name, x in running.items()
            }
        total: Mean = sequences.mean_of(loss, ours.live)
        return total, metrics
