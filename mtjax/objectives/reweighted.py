"""Dynamic reweighting: texts of a batch weighted by their own present losses, compared over the entire batch."""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Bool, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome, Positive
from mtjax.types import Batch, Policy

Strategy = Literal["uniform", "lin_upper", "quadratic", "extremes", "upper"]


def batch_weights(
    losses: Float[Array, "*N"], live: Bool[Array, "*N"], strategy: Strategy, r: base.Number
) -> Float[Array, "*N"]:
    """Weights that add up to 1 over the live losses: `softmax(f / r)` of a function f of each loss.

    With `h = (2 l - max - min) / (max - min)` in [-1, 1]: lin_upper `min(h + 1, 1)` (rising to the middle, flat above),
    quadratic `1 - h^2` (the middle), extremes `|h|`, upper `(h + 1) / 2`. Uniform, and equal losses, give equal
    weights. A loss that is not finite has weight 0.
    """
    live = live & jnp.isfinite(losses)
    low = jnp.min(jnp.where(live, losses, jnp.inf))
    high = jnp.max(jnp.where(live, losses, -jnp.inf))
    width = jnp.where(high > low, high - low, 1.0)
    h = jnp.where(live & (high > low), ((losses - low) - (high - losses)) / width, 0)
    f = {"lin_upper": jnp.minimum(h + 1, 1), "quadratic": 1 - h**2, "extremes": jnp.abs(h), "upper": (h + 1) / 2}
    scores = jnp.where(live, f.get(strategy, jnp.zeros_like(h)) / r, -jnp.inf)
    top = jnp.max(scores)
    weights = jnp.where(live, jnp.exp(scores - jnp.where(jnp.isfinite(top), top, 0)), 0)
    total = jnp.sum(weights)
    return weights / jnp.where(total > 0, total, 1)


@base.OBJECTIVES.register("reweighted")
@dataclasses.dataclass(frozen=True)
class Reweighted(base.Settings):
    """Cross-entropy of texts, weighted within each batch by a function of their present losses.

    Formula: `sum_i w_i l_i` over the texts of the entire batch, with `l_i` the mean cross-entropy of the targets of
    text i and the constant `w = batch_weights(l)`, which adds up to 1; all are equal for `warmup_steps` updates.

    Want it for pre-training or long fine-tuning on data of mixed quality: lin_upper holds back what is easy already
    without raising the hardest texts, which may be noise. It needs neither memory nor reference. The authors' bound
    improves where no weight exceeds 2 / N, which extremes violates (`weight_max`).

    All losses of the batch are computed before the loss (one more forward pass), over devices and micro-batches, so
    that any split of the batch gives the same update; the released multi-node code reads other devices' weights.
    Compare runs by `nll`, not by the loss.

    Metrics: `nll` (of tokens), `text_nll` (unweighted mean over texts), `weight_max` and `weight_square` (of N w; the
    effective share of the texts is one over the latter), `not_finite` (share of texts left out).

    Source: Sow et al., "Dynamic Loss-Based Sample Reweighting for Improved Large Language Model Pretraining", 2025
    (arXiv 2502.06733).
    """

    by_step: ClassVar[bool] = True

    strategy: Strategy = "lin_upper"  # Which losses weigh more.
    r: Positive = 0.4  # Temperature of the weights: large is uniform; 0.4 and 1 in the released configs.
    warmup_steps: Annotated[int, Ge(0)] = 0  # First updates with equal weights (1,000 of the authors' 20,000).

    def _losses(self, policy: Policy, batch: Batch) -> tuple[Any, sequences.Sequences, Any]:
        scores = policy.scores(batch)
        texts = sequences.sequence_scores(scores, batch)
        return -texts.mean_logprob, texts, scores

    def pool(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Any]:
        """The loss of each text; see `mtjax.types.Objective`."""
        losses, texts, _ = self._losses(policy, batch)
        return {"losses": losses, "live": texts.live}

    def resolve(self, pooled: dict[str, Any], key: Key) -> dict[str, Any]:
        """N times the weight of each text, and the largest of them."""
        live = jnp.asarray(pooled["live"], jnp.float32)
        weights = batch_weights(pooled["losses"], pooled["live"], self.strategy, self.r) * jnp.sum(live)
        return {"weight": weights, "largest": jnp.full_like(weights, jnp.max(weights))}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, pooled: Any = None,
        step: Any = None,
    ) -> Outcome:  # fmt: skip
        """The loss of the batch, and what to watch; without `pooled` the batch counts as the entire one."""
        pooled = base.pooled_alone(self, policy, batch, reference, key) if pooled is None else pooled
        losses, texts, scores = self._losses(policy, batch)
        finite = texts.live & jnp.isfinite(losses)
        weight, largest = pooled["weight"], pooled["largest"]
        if self.warmup_steps and step is not None:
            early = step < self.warmup_steps
            weight, largest = (jnp.where(early, jnp.asarray(finite, jnp.float32), x) for x in (weight, largest))
        weight = jax.lax.stop_gradient(weight)
        mean = lambda x: sequences.mean_of(x, texts.live)
        metrics = {
            "nll": base.weighted_nll(scores, batch, batch.weights)[0],
            "text_nll": mean(jnp.where(finite, losses, 0)),
            "weight_max": mean(largest),
            "weight_square": mean(weight**2),
            "not_finite": sequences.share_of(~finite, texts.live),
        }
        return mean(weight * jnp.where(finite, losses, 0)), metrics
