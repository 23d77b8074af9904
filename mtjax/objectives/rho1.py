"""RHO-1: train on the tokens whose loss exceeds that of a good reference the most."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Gt, Le
from jaxtyping import Array, Bool, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome
from mtjax.types import Batch, Policy


def top_share(values: Float[Array, "*N"], live: Bool[Array, "*N"], share: base.Number) -> Bool[Array, "*N"]:
    """The largest of the live values, a share of them rounded up; equal ones are all kept or all left out.

    >>> top_share(jnp.array([0.0, 3.0, 1.0, 2.0]), jnp.ones(4, bool), 0.5).tolist()
    [False, True, False, True]
    """
    number = jnp.ceil(share * jnp.sum(live) - 1e-4).astype(jnp.int32)
    ranked = jnp.sort(jnp.where(live, values, -jnp.inf).ravel())[::-1]
    return live & (values >= ranked[jnp.maximum(number - 1, 0)])


@base.OBJECTIVES.register("rho1")
@dataclasses.dataclass(frozen=True)
class Rho1(base.Settings):
    """Selective language modelling: the cross-entropy of the tokens that are neither known nor hopeless.

    Formula: `-sum_{t kept} w_t log pi_t / sum_{t kept} w_t`, where a target is kept if its excess `log q_t - log pi_t`
    over the reference q is among the top `share` of the entire batch (no gradient).

    Want it for continued pre-training on noisy text, with a reference trained on a little clean data
    (`reference.model`): what neither model can predict is noise, and what both predict is known. With the run's own
    start as reference all excesses are 0 at first, and all tokens are kept. Cached log-probabilities serve.

    Tokens are ranked over all devices and micro-batches, which takes one more forward pass.

    Metrics: `nll` (of all tokens), `kept` (share of targets), `excess` (mean over all targets).

    Source: Lin et al., "Rho-1: Not All Tokens Are What You Need", 2024 (arXiv 2404.07965); no training code is public.
    """

    needs_reference = True

    share: Annotated[base.Number, Gt(0), Le(1)] = 0.6  # Share of the targets of a batch that is trained.

    def pool(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Any]:
        """The excess and the weight of each token; see `mtjax.types.Objective`."""
        theirs = sequences.scores_of(reference, batch, "rho1").logprob
        weights = jnp.asarray(batch.weights, jnp.float32) * base.is_target(jnp.asarray(batch.segments))
        excess = jnp.where(weights != 0, theirs - policy.scores(batch).logprob, 0)
        return {"excess": jax.lax.stop_gradient(excess), "weights": weights}

    def resolve(self, pooled: dict[str, Any], key: Key) -> Float[Array, "*M"]:
        """What each token's loss is multiplied by: 0, or all weights over those that are kept."""
        weights = pooled["weights"]
        kept = top_share(pooled["excess"], weights != 0, self.share)
        whole, of_kept = jnp.sum(weights), jnp.sum(jnp.where(kept, weights, 0))
        return jnp.where(kept, whole / jnp.where(of_kept != 0, of_kept, 1), 0)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, pooled: Any = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `pooled` the batch counts as the entire one."""
        factor = base.pooled_alone(self, policy, batch, reference, key) if pooled is None else pooled
        scores = policy.scores(batch)
        logprob = jnp.where(factor != 0, scores.logprob, 0)
        own = self.pool(policy, batch, reference=reference)
        mean = lambda x: base.weighted_nll(scores._replace(logprob=-x), batch, batch.weights)[0]
        nll, metrics = base.weighted_nll(scores, batch, batch.weights)
        metrics |= {"nll": nll, "kept": mean(jnp.asarray(factor != 0, jnp.float32)), "excess": mean(own["excess"])}
        return mean(-factor * logprob), metrics
