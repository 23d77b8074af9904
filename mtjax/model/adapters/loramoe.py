"""LoRAMoE: several LoRA on each linear map, mixed token by token by a router of its own."""

import dataclasses
import math
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, PRNGKeyArray

from mtjax.errors import InputError
from mtjax.model.adapters.base import ADAPTERS, Leaves, Linear
from mtjax.model.adapters.lora import Chosen, Lora
from mtjax.validation import PositiveInt, check_types


def expert_weights(logits: Float[Array, "*N E"], top_k: int | None = None) -> Float[Array, "*N E"]:
    """`softmax` of the router's logits, in float32; with `top_k` of the k largest alone, the others being 0.

    >>> expert_weights(jnp.log(jnp.array([1.0, 3.0, 0.5])), top_k=2).tolist()
    [0.25, 0.75, 0.0]
    """
    if top_k is not None and top_k < logits.shape[-1]:
        _, chosen = jax.lax.top_k(logits, top_k)
        kept = jnp.any(jax.nn.one_hot(chosen, logits.shape[-1], dtype=bool), axis=-2)
        logits = jnp.where(kept, logits, -jnp.inf)
    return jax.nn.softmax(logits, axis=-1)


@ADAPTERS.register("loramoe")
@dataclasses.dataclass(frozen=True)
class LoraMoe:
    """A mixture of LoRA experts beside each frozen linear map of the MLP, all of them used.

    Formula: `y = W x + (alpha / rank) sum_e w_e(x) B_e A_e drop(x)` with `w = softmax(R x)` in float32, for each linear
    map apart; A and R uniform within `1 / sqrt(inputs)` at the start, B zero. With `top_k` the softmax is over the k
    largest logits alone, as in a mixture of a bank of LoRA. What it adds depends on the token, so it cannot be merged:
    a model with it is loaded from its run folder, and not exported.

    Want it to tune on many tasks without losing what the base knows: with the regularizer `localized_balance` half of
    the experts keep to some of the sources. The paper's settings are the defaults, with a learning rate of 2e-4.

    Source: Dou et al., "LoRAMoE: Alleviate World Knowledge Forgetting in Large Language Models via MoE-Style Plugin",
    ACL 2024 (arXiv 2312.09979), and its code (`Ablustrund/LoRAMoE`); `top_k`: paper 2408.15915.
    """

    mergeable: ClassVar[bool] = False

    experts: Annotated[int, Ge(2)] = 6  # LoRA on each linear map.
    rank: PositiveInt = 4  # Columns of each A and rows of each B.
    alpha: Annotated[float, Gt(0), Lt(math.inf)] = 32.0  # Scale, before it is divided by the rank.
    targets: tuple[str, ...] = (r"mlp\..*",)  # Which matrices, as for `lora`.
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.05  # Share of the inputs of A that is dropped in training.
    top_k: PositiveInt | None = None  # Experts that a token uses; None takes all.
    base_dtype: Literal["float32", "bfloat16"] = "float32"  # Type in which the frozen parameters are kept.
    bank: tuple[str, ...] = ()
    """LoRA that the experts start from, one for each: run folders or PEFT folders of this base, of the same rank, alpha
    and targets; empty starts them anew."""

    def __post_init__(self) -> None:
        check_types(self, "model.adapter")
        if self.top_k is not None and self.top_k > self.experts:
            raise InputError(f"model.adapter.top_k={self.top_k}: expected at most experts={self.experts}")
        if self.bank and len(self.bank) != self.experts:
            raise InputError(
                f"model.adapter.bank names {len(self.bank)} LoRA and model.adapter.experts is {self.experts}; give one "
                "for each expert"
            )

    @property
    def lora(self) -> Lora:
        """One of the experts as an adapter of its own."""
        return Lora(self.rank, self.alpha, self.targets, base_dtype=self.base_dtype)

    def chosen(self, maps: list[Linear]) -> dict[tuple[str, ...], Chosen]:
        """The maps as `lora` chooses them."""
        return self.lora.chosen(maps)

    def init(self, key: PRNGKeyArray, of: Chosen, kernel: Any) -> Leaves:
        """A `[*layers, *inputs, E, r]` and router `[*layers, *inputs, E]`; B `[*layers, E, r, *outputs]`, zero."""
        lead, into, out = _shape(of.map)
        limit = 1 / math.sqrt(math.prod(into))
        draw = lambda number, *shape: jax.random.uniform(
            jax.random.fold_in(key, number), (*lead, *into, *shape), jnp.float32, -limit, limit
        )
        b = jnp.zeros((*lead, self.experts, of.rank, *out), jnp.float32)
        router = draw(1, self.experts)
        return {"a": draw(0, self.experts, of.rank), "b": b, "router": router}

    def axes(self, of: Chosen) -> dict[str, tuple[str | None, ...]]:
        """A and router are split like the inputs of the kernel, B like its outputs."""
        one = of.map
        lead, rest = one.axes[: one.stacked], one.axes[one.stacked :]
        into, out = rest[: one.inputs], rest[one.inputs :]
        return {"a": (*lead, *into, None, None), "b": (*lead, None, None, *out), "router": (*lead, *into, None)}

    def ready(self, of: Chosen, leaves: Leaves, key: PRNGKeyArray | None) -> Leaves:
        """B times its scale, the number of experts of a token, and what drops inputs out."""
        lead = of.map.shape[: of.map.stacked]
        made = {**leaves, "b": leaves["b"] * of.scales[0]}
        made["used"] = jnp.zeros((*lead, self.top_k or self.experts))  # its length says how many
        if key is not None:
            made["key"] = jax.random.key_data(jax.random.split(key, lead))
            made["keep"] = jnp.full(lead, 1 - self.dropout, jnp.float32)
        return made

    @staticmethod
    def route(leaves: Leaves, x: Float[Array, "*N I"]) -> Float[Array, "*N E"]:
        """The weights of the experts."""
        router = leaves["router"].reshape(x.shape[-1], -1)
        return expert_weights(x.astype(jnp.float32) @ router, leaves["used"].shape[-1])

    @staticmethod
    def apply(
        leaves: Leaves, x: Float[Array, "*N I"], y: Float[Array, "*N O"], kernel: Float[Array, "I O"]
    ) -> Float[Array, "*N O"]:
        """`y + sum_e w_e B_e A_e drop(x)`; B has its scale in it."""
        weights = LoraMoe.route(leaves, x).astype(x.dtype)
        experts = weights.shape[-1]
        inner = x
        if "key" in leaves:
            keep = leaves["keep"]
            kept = jax.random.bernoulli(jax.random.wrap_key_data(leaves["key"]), keep, x.shape)
            inner = jnp.where(kept, x / keep.astype(x.dtype), 0).astype(x.dtype)
        low = inner @ leaves["a"].reshape(x.shape[-1], -1).astype(x.dtype)
        low = low.reshape(*low.shape[:-1], experts, -1) * weights[..., None]
        low = low.reshape(*low.shape[:-2], -1)
        return y + low @ leaves["b"].reshape(low.shape[-1], -1).astype(x.dtype)

    def merge(self, of: Any, leaves: Leaves, kernel: Any) -> Any:
        """InputError: there is no such matrix."""
        raise InputError(
            "loramoe cannot be merged: what it adds depends on the token. Use the run folder itself, for generate, "
            "evaluate and mine, or start the new run with the same model.adapter:loramoe"
        )

    def of_bank(self, of: Chosen, leaves: Leaves, experts: list[Leaves]) -> Leaves:
        """Leaves whose experts are given LoRA of the same map, the router being that of `leaves`."""
        own = {"a": np.stack([np.asarray(one["a"]) for one in experts], axis=-2)}
        own["b"] = np.stack([np.asarray(one["b"]) for one in experts], axis=of.map.stacked)
        return {**leaves, **{name: jnp.asarray(value) for name, value in own.items()}}


def _shape(one: Linear) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Axes of layers, inputs and outputs of a map."""
    rest = one.shape[one.stacked :]
    return one.shape[: one.stacked], rest[: one.inputs], rest[one.inputs :]
