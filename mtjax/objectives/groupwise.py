"""Group-wise weights of the sources of a mixture, by sleeping experts (AdaNormalHedge)."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le
from jaxtyping import Array, Bool, Float

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.base import Key, Outcome, Positive, Running, Sums
from mtjax.types import Batch, Mean, Policy

NAMES = ("regret", "absolute")  # What is kept of each source.


def hedge_weights(
    regret: Float[Array, " G"], absolute: Float[Array, " G"], awake: Bool[Array, " G"]
) -> Float[Array, " G"]:
    """Weights of AdaNormalHedge, which add up to 1 over the groups that are awake and are 0 elsewhere.

    Formula: `w_g ~ phi(R_g + 1, C_g + 1) - phi(R_g - 1, C_g + 1)` with `phi(R, C) = exp(max(R, 0)^2 / (3 C))`; equal
    weights where all differences are 0.

    Source: Luo and Schapire, "Achieving All with No Parameters: AdaNormalHedge", 2015 (arXiv 1502.05934), recalled.
    """
    power = lambda r: jnp.maximum(r, 0) ** 2 / (3 * (absolute + 1))
    above, below = power(regret + 1), power(regret - 1)
    top = jnp.max(jnp.where(awake, above, 0))  # exp(power - top) does not overflow
    weights = jnp.where(awake, jnp.exp(above - top) - jnp.exp(below - top), 0)
    total, number = jnp.sum(weights), jnp.maximum(jnp.sum(awake), 1)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), awake / number)


@base.OBJECTIVES.register("groupwise")
@dataclasses.dataclass(frozen=True)
class Groupwise(base.Settings):
    """Cross-entropy in which the sources of a mixture weigh more, the longer the model is worse on them than on others.

    Formula: `L = sum_t v_t w_t (-log p_t) / sum_t w_t`, where v is `G ((1 - u) q_g + u / G)` for the tokens of source
    g, u is `uniform` and q are the `hedge_weights` of G sources. The loss l of a source in a batch is its nats per
    token less those of its `own` expert, over `scale`, cut to [0, 1]; the regret of a source that is in the batch
    (awake) grows by `l_g - sum_h q_h l_h`, q over the sources that are awake.

    Want it for mixtures whose sources are not equally easy and where none may be left behind; with equal losses it is
    `nll`. Without `own`, a source that is harder by nature takes most of the weight; give the nats per token that a
    model of that source alone reaches. Sources are groups that do not overlap. Regrets are running statistics: saved,
    resumed and the same on any mesh. Without a mixture, and in an evaluation without training, all weights are 1.

    Metrics: `nll`, and `group/G` (its weight, 1 on average) for each source.

    Source: Acharya et al., "Oracle Efficient Algorithms for Groupwise Regret", 2023 (arXiv 2310.04652), read in
    abstract: its sleeping experts are predictors for overlapping groups, here they are the shares of data.
    """

    groups: Annotated[int, Ge(1), Le(64)] = 2  # Number of sources of the mixture.
    scale: Positive = 4.0  # Nats per token above its own expert that count as a loss of 1, the most.
    own: tuple[float, ...] = ()  # Nats per token that the expert of each source reaches; empty: 0 for all.
    uniform: Annotated[float, Ge(0), Le(1)] = 0.2  # Share of the weight that all sources get alike.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.own and len(self.own) != self.groups:
            raise InputError(f"objective.own has {len(self.own)} numbers for groups={self.groups}; give one per source")

    @property
    def running(self) -> tuple[str, ...]:
        """The regret of each source so far, and the sum of its absolute changes."""
        return tuple(f"{name}_{group}" for name in NAMES for group in range(self.groups))

    def _state(self, running: Mapping[str, Any]) -> tuple[Any, Any]:
        """Regrets and sums of absolute changes, both `[G]`."""
        regret, absolute = ([jnp.float32(running[f"{n}_{g}"]) for g in range(self.groups)] for n in NAMES)
        return jnp.stack(regret), jnp.stack(absolute)

    def advance(self, running: Mapping[str, Any], found: Mapping[str, Mean]) -> dict[str, Any]:
        """The regrets with another batch."""
        regret, absolute = self._state(running)
        counts = jnp.stack([found[f"group_{group}"].count for group in range(self.groups)])
        totals = jnp.stack([found[f"group_{group}"].total for group in range(self.groups)])
        awake = counts > 0
        own = jnp.asarray(self.own or (0.0,) * self.groups)
        losses = jnp.clip((totals / jnp.where(awake, counts, 1) - own) / self.scale, 0, 1)
        mixed = jnp.sum(hedge_weights(regret, absolute, awake) * losses)
        change = jnp.where(awake, losses - mixed, 0)
        return {f"regret_{g}": regret[g] + change[g] for g in range(self.groups)} | {
            f"absolute_{g}": absolute[g] + jnp.abs(change[g]) for g in range(self.groups)
        }

    def _groups_of(self, batch: Batch) -> Any:
        """The source of each token, from 0; a source beyond the last of `groups` counts as the last."""
        if "segment_source" not in batch.extras:
            return jnp.zeros(batch.tokens.shape, jnp.int32)
        return jnp.clip(base.spread(jnp.int32(batch.extras["segment_source"]), batch.segments), 0, self.groups - 1)

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        """The loss of each source in the entire batch; see `mtjax.types.Objective`."""
        scores, group = jax.lax.stop_gradient(policy.scores(batch)), self._groups_of(batch)
        part = lambda g: base.weighted_nll(scores, batch, batch.weights * (group == g))[0]
        return {f"group_{g}": part(g) for g in range(self.groups)}

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None,
        statistics: Sums = None, running: Running = None,
    ) -> Outcome:  # fmt: skip
        """The loss of the batch, and what to watch."""
        scores = policy.scores(batch)
        nll, metrics = base.weighted_nll(scores, batch, batch.weights)
        factor = jnp.ones(self.groups)
        if running is not None and "segment_source" in batch.extras:
            weights = hedge_weights(*self._state(running), jnp.ones(self.groups, bool))
            factor = self.groups * (1 - self.uniform) * weights + self.uniform
        total = base.weighted_nll(scores, batch, batch.weights * factor[self._groups_of(batch)])[0].total
        shown = {f"group/{g}": Mean(factor[g] * nll.count, nll.count) for g in range(self.groups)}
        return nll._replace(total=total), metrics | {"nll": nll} | shown
