"""AOT: not pair against pair, but the sorted margins of the batch against those of the reference."""

import dataclasses
import math
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Lt
from jaxtyping import Array, Bool, Float, Int

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome, Positive
from mtjax.objectives.dpo import dpo_loss
from mtjax.types import Batch, Policy


class Sides(NamedTuple):
    """The two numbers of each pair that are sorted, each on its own."""

    first: Float[Array, "*N"]
    second: Float[Array, "*N"]
    live: Bool[Array, "*N"]
    ids: Int[Array, "*N"]  # which pair it is, so that ties do not depend on how the batch is split


def matched(sides: Sides) -> tuple[Float[Array, "*N"], Float[Array, "*N"]]:
    """For each first number the second one of the same rank, and for each second number the first one.

    Ranks are among all live pairs, ascending; what is not live gets a number without meaning.

    >>> sides = Sides(jnp.array([3.0, 1.0]), jnp.array([5.0, 9.0]), jnp.ones(2, bool), jnp.arange(2))
    >>> [x.tolist() for x in matched(sides)]
    [[9.0, 5.0], [1.0, 3.0]]
    """
    first, second, live, ids = (x.ravel() for x in sides)
    order = lambda x: jnp.lexsort((ids, x, ~live))
    one, other = order(first), order(second)
    partner = jnp.zeros_like(first).at[one].set(second[other])
    back = jnp.zeros_like(second).at[other].set(first[one])
    return partner.reshape(sides.first.shape), back.reshape(sides.first.shape)


@base.OBJECTIVES.register("aot")
@dataclasses.dataclass(frozen=True)
class Aot(base.Settings):
    """Alignment by optimal transport: the distribution of margins in the batch must dominate, not each margin.

    Formula: the mean over ranks i of `f(a_i - b_i)`, `f(x) = -(1 - e) log sigmoid(beta x) - e log sigmoid(-beta x)`
    with e = `label_smoothing`, and a, b sorted in ascending order over all pairs of the batch:

    - paired: a are the policy's margins `log pi(y_w) - log pi(y_l)`, b those of the reference (no gradient).
    - unpaired: a are the log-ratios of chosen texts, b those of rejected ones; the gradient goes through both.

    Want it when single pairs are noisy and the batch is large; unpaired also when chosen and rejected texts answer
    different prompts. With one pair in the batch it is `dpo`.

    Shapes and metrics: as `mtjax.objectives.dpo.Dpo`. Sorting is over the entire batch, all devices and micro-batches,
    so that any split of it gives the same update; other codes sort each device's own part.

    Source: Melnyk et al., "Distributional Preference Alignment of LLMs via Optimal Transport", 2024 (arXiv 2406.05882),
    as in TRL.
    """

    task = "pair"
    needs_reference = True
    at_reference = math.log(2)

    beta: Positive = 0.01  # Scale of the margins; 0.01 in the paper's figure 2.
    form: Literal["paired", "unpaired"] = "paired"  # What is sorted: margins, or chosen and rejected texts apart.
    label_smoothing: Annotated[base.Number, Ge(0), Lt(0.5)] = 0.0  # Share of ranks believed to be the wrong way round.

    def _sides(self, policy: Policy, batch: Batch, reference: Policy | None) -> tuple[Sides, sequences.Pairs, Any]:
        """What is sorted, the pairs, and the log-ratios of chosen and rejected texts."""
        ours, theirs = sequences.pair_scores(policy, batch, "aot"), sequences.reference_pairs(reference, batch, "aot")
        chosen, rejected = (
            getattr(ours, side).logprob - getattr(theirs, side).logprob for side in ("chosen", "rejected")
        )
        ids = jnp.asarray(batch.extras["segment_id"])[:, 0] if "segment_id" in batch.extras else None
        ids = jnp.zeros(chosen.shape, jnp.int32) if ids is None else ids
        margin = lambda pairs: pairs.chosen.logprob - pairs.rejected.logprob
        sorts = (margin(ours), margin(theirs)) if self.form == "paired" else (chosen, rejected)
        return Sides(*sorts, ours.live, ids), ours, (chosen, rejected)

    def pool(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> Sides:
        """What is sorted; see `mtjax.types.Objective`."""
        return self._sides(policy, batch, reference)[0]

    def resolve(self, pooled: Sides, key: Key) -> Any:
        """The partner of each number, of both sides."""
        return matched(pooled)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, pooled: Any = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `pooled` the batch counts as the entire one."""
        partner, back = base.pooled_alone(self, policy, batch, reference, key) if pooled is None else pooled
        sides, ours, ratios = self._sides(policy, batch, reference)
        loss_of = lambda gap: dpo_loss(gap, 0.0, beta=self.beta, label_smoothing=self.label_smoothing)
        loss = loss_of(sides.first - partner)
        if self.form == "unpaired":  # the other side's gradient, without its value
            other = loss_of(back - sides.second)
            loss = loss + other - jax.lax.stop_gradient(other)
        metrics = sequences.pair_metrics(ours, *(self.beta * ratio for ratio in ratios))
        return sequences.mean_of(loss, ours.live), metrics
