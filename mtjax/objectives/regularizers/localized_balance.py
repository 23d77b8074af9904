"""Localized balance of LoRA experts: half of them keep to one type of examples, and within a half all are used."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Lt
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.regularizers.base import REGULARIZERS
from mtjax.types import AdapterRouting, Batch, Mean, Policy

Variant = Literal["paper", "code"]


def agreement(types: Float[Array, "..."], experts: int, delta: float, variant: Variant) -> Float[Array, "... E"]:
    """I: `1 + delta` where the types of expert and example agree, else `1 - delta`.

    The first half of the experts is of type 0 and the second of type 1; in the authors' code the other way round.
    """
    of_expert = jnp.arange(experts) >= experts // 2
    if variant == "code":
        of_expert = ~of_expert
    return jnp.where((types[..., None] > 0.5) == of_expert, 1 + delta, 1 - delta)


def spread_loss(total: Any, squares: Any, count: Any, variant: Variant) -> Any:
    """The loss of `count` numbers Z from the sums of Z and of their squares.

    Formula: `var(Z) / mean(Z)` with the variance of the population ("paper"); `var(Z) / (mean(Z)^2 + 1e-10)` with that
    of a sample ("code").
    """
    mean = total / count
    variance = jnp.maximum(squares / count - mean**2, 0)
    if variant == "paper":
        return variance / jnp.where(mean > 0, mean, 1)
    return variance * count / jnp.maximum(count - 1, 1) / (mean**2 + 1e-10)


@REGULARIZERS.register("localized_balance")
@dataclasses.dataclass(frozen=True)
class LocalizedBalance(base.Settings):
    """Localized balancing constraint of LoRAMoE.

    Formula: for each linear map with experts, `Q[m, e]` is the sum of expert e's weights over the tokens of example m,
    `Z = I * Q` with I `1 + delta` where the types of expert and example agree and `1 - delta` where not, and the loss
    is `var(Z) / mean(Z)` over the examples of the entire batch and all experts; the mean over maps and layers.
    It is smallest where Q is inverse to I, so the weights of an example move to the half whose factor is `1 - delta`:
    the halves specialise, and which type a half is called has no effect but on the names.

    `variant="code"` is what the authors released: `var(Z) / (mean(Z)^2 + 1e-10)` with the variance of a sample, types
    of experts the other way round, of `mlp.down` alone, summed over the layers. Which variance the paper means is not
    known; here it is that of the population.

    Want it with `model.adapter:loramoe` on a mixture of sources, some of which should keep what the base knows.

    Source: Dou et al., "LoRAMoE", ACL 2024 (arXiv 2312.09979), and its code (`Ablustrund/LoRAMoE`).
    """

    weight: base.NonNegative = 0.1  # Factor on the loss; 0 only measures.
    delta: Annotated[float, Ge(0), Lt(1)] = 0.1  # How far the factors of the two halves lie from 1.
    variant: Variant = "paper"  # As in the paper, or as in the authors' code.
    by: str = "source"
    """What the type of an example comes from: `source`, its number in the mixture, or another number that the task
    carries, such as `polarity`."""
    types: tuple[int, ...] = ()
    """The type, 0 or 1, of each value of `by`: (0, 1, 1) for three sources. Empty takes the value itself, above 0.5 as
    type 1."""

    def _amounts(self, policy: Policy, batch: Batch) -> tuple[Float[Array, "M L N E"], Float[Array, " N"]]:
        """Z of each map and layer, example and expert, 0 where there is no example; and 1 for each example."""
        if not isinstance(policy, AdapterRouting):
            raise InputError(
                f"regularizer localized_balance needs a model whose adapter mixes experts; {type(policy).__name__} "
                "shows none: leave it out, or set model.adapter:loramoe"
            )
        found = policy.expert_weights(batch)
        if self.variant == "code":
            found = {name: weights for name, weights in found.items() if name.endswith("down")}
        if not found:
            raise InputError(
                "regularizer localized_balance: variant='code' needs experts on mlp.down; add it to targets"
            )
        way_out = "train on a mixture of sources, or set `by` to a number that the task carries, such as polarity"
        value = sequences.segment_extra(batch, self.by, "localized_balance", way_out)
        if self.types:
            place = jnp.clip(jnp.round(value).astype(jnp.int32), 0, len(self.types) - 1)
            value = jnp.asarray(self.types, jnp.float32)[place]
        segments, columns = jnp.asarray(batch.segments), sequences.segment_count(batch)
        belongs = jnp.asarray(segments[..., None] == jnp.arange(1, columns + 1), jnp.float32)
        live = (jnp.sum(belongs, axis=-2) > 0).astype(jnp.float32)
        stacked = jnp.stack([found[name] for name in sorted(found)])
        amount = jnp.einsum("ml...te,...ts->ml...se", stacked, belongs)
        scaled = amount * agreement(value, stacked.shape[-1], self.delta, self.variant)
        return scaled.reshape(*stacked.shape[:2], -1, stacked.shape[-1]), live.reshape(-1)

    def statistics(self, policy: Policy, batch: Batch) -> dict[str, Mean]:
        """Sums of Z and of its squares `[M, L]` over the examples, and the number of examples."""
        amounts, live = jax.lax.stop_gradient(self._amounts(policy, batch))
        count = jnp.sum(live)
        return {
            "sums": Mean(jnp.sum(amounts, axis=(2, 3)), count),
            "squares": Mean(jnp.sum(amounts**2, axis=(2, 3)), count),
            "examples": Mean(count, count),
        }

    def __call__(
        self, policy: Policy, batch: Batch, sums: Any = None, squares: Any = None, examples: Any = None
    ) -> Mean:
        """The loss of the batch, which counts as the entire one without the sums of more of it.

        Its gradient by each Z is that of the loss of the entire batch, so that parts add up to it.
        """
        amounts, live = self._amounts(policy, batch)
        own = jnp.sum(live)
        if sums is None:
            sums, squares, examples = jnp.sum(amounts, (2, 3)), jnp.sum(amounts**2, (2, 3)), own
        whole = jax.lax.stop_gradient((sums, squares))
        count = jnp.maximum(examples, 1) * amounts.shape[-1]

        def loss(whole: Any) -> Any:
            by_map = spread_loss(whole[0], whole[1], count, self.variant)
            return jnp.mean(by_map) if self.variant == "paper" else jnp.sum(by_map)

        value, (by_sum, by_square) = jax.value_and_grad(loss)(whole)
        still = jax.lax.stop_gradient(amounts)
        slope = by_sum[..., None, None] + 2 * by_square[..., None, None] * still
        moved = jnp.sum(jax.lax.stop_gradient(slope) * (amounts - still))
        return Mean(own * jax.lax.stop_gradient(value) + jnp.maximum(examples, 1) * moved, own)

    def metrics(self, policy: Policy, batch: Batch) -> Mapping[str, Mean]:
        """`adapter/agreeing_experts`: the share of the weights on experts of the example's type."""
        amounts, live = jax.lax.stop_gradient(self._amounts(policy, batch))
        high, low = 1 + self.delta, 1 - self.delta
        total = jnp.sum(amounts, axis=(0, 1))
        # Z = Q (1 + delta) on the one half and Q (1 - delta) on the other; the weights of a token sum to 1.
        tokens = jnp.sum(jnp.asarray(batch.segments) > 0) * amounts.shape[0] * amounts.shape[1]
        if not self.delta:
            return {}
        return {"adapter/agreeing_experts": Mean((jnp.sum(total) - low * tokens) / (high - low), jnp.float32(tokens))}
