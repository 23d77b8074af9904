"""Load balance of a mixture of experts: the loss that keeps its router from sending all tokens to a few experts."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.regularizers.base import REGULARIZERS, routing_of
from mtjax.types import Batch, Mean, Policy, Routing


def counts_of(routing: Routing, live: Float[Array, "*B T"]) -> Float[Array, "L *B E"]:
    """Choices that fell on each expert, of the live tokens of each row: the numerator of `f`. Without gradient."""
    experts = routing.logits.shape[-1]
    asked = jnp.where(live[..., None] > 0, routing.chosen, experts)
    flat = asked.reshape(-1, asked.shape[-2] * asked.shape[-1])
    count = jax.vmap(lambda row: jnp.zeros(experts, jnp.float32).at[row].add(1, mode="drop"))
    return count(flat).reshape(*asked.shape[:-2], experts)


def shares_of(counts: Float[Array, "*N E"]) -> Float[Array, "*N E"]:
    """`f`: each expert's share of the choices, which sum to 1; 0 where there is none."""
    return counts / jnp.maximum(jnp.sum(counts, axis=-1, keepdims=True), 1)


@REGULARIZERS.register("load_balance")
@dataclasses.dataclass(frozen=True)
class LoadBalance(base.Settings):
    """Load-balancing loss of the router, over the tokens of the entire batch or of parts of it.

    Formula: `E sum_i f_i P_i`, mean over the layers with experts; `f_i` is expert i's share of the choices (no
    gradient), `P_i` its mean probability `softmax(router logits)_i` over the same tokens, padding left out. 1 where all
    experts are chosen alike.

    `form` says whose choices `f` counts. "global": of the entire batch, all micro-batches and devices; the step makes
    the counts in a pass of its own before the loss. "buffered": of the micro-batches of the step so far, without that
    pass. "micro": of `rows` rows, which asks every part for balance and keeps experts from specialising.

    Want it when training the router of a mixture. 0.008 is the weight of the source, for the usual K and form here.

    Source: Qiu et al., "Demons in the Detail: On Implementing Load Balancing Loss for Training Specialized
    Mixture-of-Expert Models", 2025 (arXiv 2501.11873); Fedus et al., "Switch Transformers", 2021 (arXiv 2101.03961).
    """

    weight: base.NonNegative = 0.008  # Factor on the loss; 0 only measures.
    form: Literal["global", "buffered", "micro"] = "global"  # Whose choices are counted.
    rows: Annotated[int, Ge(1)] | None = None  # "micro": rows that are counted together; None: those of a micro-batch.
    by_token: bool = False  # `f` is choices per token, K times as large, as in transformers and Switch.
    pool_layers: bool = False  # Choices and probabilities of all layers are pooled, as in transformers.

    def __call__(self, policy: Policy, batch: Batch, counts: Any = None) -> Mean:
        """The loss of the batch; `counts` `[L, E]` are those of more of it, and of this batch if not given."""
        routing, live = routing_of(self, policy, batch)
        rows = lambda x: x.reshape(x.shape[0], -1, *x.shape[-2:])
        probabilities = jax.nn.softmax(rows(routing.logits), axis=-1)
        live = live.reshape(-1, live.shape[-1])
        sums = jnp.einsum("lbte,bt->lbe", probabilities, live)
        own = jax.lax.stop_gradient(counts_of(routing, live.reshape(batch.tokens.shape)).reshape(sums.shape))
        groups = sums.shape[1] // self.rows if self.form == "micro" and self.rows else 1
        if self.form == "micro" and self.rows and sums.shape[1] % self.rows:
            raise InputError(
                f"regularizer load_balance: rows={self.rows} does not divide a micro-batch of {sums.shape[1]} rows; "
                "choose a divisor of it"
            )
        pooled = lambda x: x.reshape(x.shape[0], groups, -1, x.shape[-1]).sum(2)
        sums, own = pooled(sums), pooled(own)
        counted = own if counts is None or self.form == "micro" else jax.lax.stop_gradient(counts)[:, None]
        if self.pool_layers:
            counted, sums = counted.sum(0, keepdims=True), sums.mean(0, keepdims=True)
        shares = shares_of(counted) * (routing.chosen.shape[-1] if self.by_token else 1)
        total = routing.logits.shape[-1] * jnp.sum(shares * sums) / sums.shape[0]
        return Mean(total, jnp.sum(live))

    def statistics(self, policy: Policy, batch: Batch) -> dict[str, Mean]:
        """The counts `[L, E]` that `form` adds up over micro-batches: none for "micro"."""
        if self.form == "micro":
            return {}
        routing, live = routing_of(self, policy, batch)
        counts = counts_of(routing, live)
        return {"counts": Mean(counts.reshape(len(counts), -1, counts.shape[-1]).sum(1), jnp.sum(live))}

    def metrics(self, policy: Policy, batch: Batch) -> Mapping[str, Mean]:
        """Load and drops of the experts; see `expert_metrics`."""
        return expert_metrics(*routing_of(self, policy, batch))


def expert_metrics(routing: Routing, live: Float[Array, "*B T"], quarters: int = 4) -> dict[str, Mean]:
    """Metrics of a router: means over layers and tokens, of micro-batches weighted by their tokens.

    `experts/max_load`: the largest expert's choices over the mean (1: all alike); `experts/unused`: share of experts
    without a choice; `experts/entropy`: of the router's distribution, nats; `experts/dropped`: share of choices that
    found a full expert, and `experts/dropped_1of4` .. `_4of4` of each quarter of the rows.

    Source: Xue et al., "OpenMoE", 2024 (arXiv 2402.01739), for drops by position.
    """
    routing = jax.lax.stop_gradient(routing)
    counts = counts_of(routing, live)
    shares = shares_of(counts.reshape(len(counts), -1, counts.shape[-1]).sum(1))
    tokens = jnp.sum(live)
    weighted = lambda value: Mean(value * tokens, tokens)
    log_p = jax.nn.log_softmax(routing.logits, axis=-1)
    entropy = -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)
    out = {
        "experts/max_load": weighted(jnp.mean(jnp.max(shares, axis=-1)) * shares.shape[-1]),
        "experts/unused": weighted(jnp.mean(shares == 0)),
        "experts/entropy": Mean(jnp.sum(jnp.mean(entropy, axis=0) * live), tokens),
        "experts/dropped": drops(routing, live),
    }
    length = live.shape[-1]
    for quarter in range(quarters):
        cut = slice(quarter * length // quarters, (quarter + 1) * length // quarters)
        part = routing._replace(kept=routing.kept[..., cut, :])
        out[f"experts/dropped_{quarter + 1}of{quarters}"] = drops(part, live[..., cut])
    return out


def drops(routing: Routing, live: Float[Array, "*B T"]) -> Mean:
    """Share of the choices of live tokens that found a full expert, over all layers."""
    kept = routing.kept
    return Mean(jnp.sum(~kept * live[..., None]), jnp.sum(live) * kept.shape[0] * kept.shape[-1])
