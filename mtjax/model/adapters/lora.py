"""LoRA: a product of two narrow matrices is added to each frozen one."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, PRNGKeyArray

from mtjax.errors import InputError
from mtjax.model.adapters.base import ADAPTERS, Leaves, Linear
from mtjax.validation import PositiveInt, check_types


class Chosen(NamedTuple):
    """A linear map with its rank and scale in each layer; a rank of 0 leaves a layer as it is."""

    map: Linear
    ranks: tuple[int, ...]
    scales: tuple[float, ...]

    @property
    def rank(self) -> int:
        """The largest rank of a layer: what the others are filled up to, with zeros that stay zeros."""
        return max(self.ranks)


@ADAPTERS.register("lora")
@dataclasses.dataclass(frozen=True)
class Lora:
    """Low-rank adaptation of linear maps.

    Formula: `y = W x + s B A drop(x)` with A `[rank, inputs]`, uniform within `1 / sqrt(inputs)` at the start, B
    `[outputs, rank]`, zero at the start, and `s = alpha / rank` (`alpha / sqrt(rank)` with `rslora`). With `dora`, the
    sum is multiplied per output by `m / ||W + s B A||`, where m, trained too, is the norm at the start and the norm of
    the sum is not differentiated.

    Want it where gradients and optimizer state of all parameters do not fit into memory, or to keep many small
    fine-tunings of one model. A learning rate about ten times that of full tuning is usual.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022 (arXiv 2106.09685);
    Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", 2023 (arXiv 2312.03732); Liu et al.,
    "DoRA: Weight-Decomposed Low-Rank Adaptation", ICML 2024 (arXiv 2402.09353).
    """

    rank: PositiveInt = 16  # Columns of A and rows of B.
    alpha: Annotated[float, Gt(0), Lt(math.inf)] = 32.0  # Scale, before it is divided by the rank (or its root).
    targets: tuple[str, ...] = ()
    """Which matrices, by name or regular expression, such as `q_proj`, `attention.query` or `mlp\\..*`; a name may
    leave out its first parts. Empty takes every linear matrix of the blocks; those of the experts of a mixture only if
    they are named (`experts.*`)."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0  # Share of the inputs of A that is dropped in training.
    rslora: bool = False  # Divide `alpha` by the root of the rank.
    dora: bool = False  # Train the norm of each output's weights apart.
    base_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type in which the frozen parameters are kept; bfloat16 halves them and loses nothing of a bfloat16 checkpoint."""
    layers: tuple[Annotated[int, Ge(0)], ...] = ()  # Only these layers, from 0; empty takes all.
    rank_pattern: tuple[tuple[str, int], ...] = ()  # Other ranks, by name or pattern; the first that fits counts.
    alpha_pattern: tuple[tuple[str, float], ...] = ()  # Other alphas, likewise.

    def __post_init__(self) -> None:
        for name in ("targets", "layers"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("rank_pattern", "alpha_pattern"):
            given = getattr(self, name)
            pairs = given.items() if isinstance(given, Mapping) else given
            object.__setattr__(self, name, tuple(map(tuple, pairs)))
        if self.targets == ("all-linear",):  # as PEFT calls it
            object.__setattr__(self, "targets", ())
        check_types(self, "model.adapter")
        for name in ("rank_pattern", "alpha_pattern"):
            if bad := [pair for pair in getattr(self, name) if not pair[1] > 0]:
                raise InputError(f"model.adapter.{name} has {bad[0]!r}; expected a number above 0")
        for pattern in (*self.targets, *(pair[0] for pair in (*self.rank_pattern, *self.alpha_pattern))):
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(
                    f"model.adapter: {pattern!r} is not a regular expression ({error}); give a name such as q_proj, or "
                    "a pattern such as mlp\\..*"
                ) from None

    def chosen(self, maps: list[Linear]) -> dict[tuple[str, ...], Chosen]:
        """The maps with ranks and scales by layer; InputError for a name or layer that the model does not have."""
        asked = (*self.targets, *(pair[0] for pair in (*self.rank_pattern, *self.alpha_pattern)))
        names = [name for one in maps for layer in one.names for name in layer]
        for pattern in asked:
            if not any(fits(pattern, (name,)) for name in names):
                raise InputError(
                    f"model.adapter: {pattern!r} fits no matrix that can be adapted; this model has {listed(maps)}"
                )
        depth = max((one.numbers[-1] + 1 for one in maps), default=0)
        if beyond := [layer for layer in self.layers if layer >= depth]:
            raise InputError(f"model.adapter.layers={beyond[0]}: the model has layers 0 to {depth - 1}")
        found = {}
        for one in maps:
            in_layers = zip(one.numbers, one.names, strict=True)
            each = [self._in_layer(layer, names, one.experts > 0) for layer, names in in_layers]
            if any(rank for rank, _ in each):
                found[one.path] = Chosen(one, *zip(*each, strict=True))
        if (self.dora or self.dropout) and (experts := [path for path, of in found.items() if of.map.experts]):
            raise InputError(
                f"model.adapter: {'.'.join(experts[0])} is of experts, which {'dora' if self.dora else 'dropout'} does "
                "not work with, in PEFT neither: set it to its default, or choose other targets"
            )
        if not found:
            raise InputError(f"model.adapter: no matrix is left to adapt; this model has {listed(maps)}")
        return found

    def _in_layer(self, layer: int, names: tuple[str, ...], of_experts: bool) -> tuple[int, float]:
        """Rank and scale of a matrix in a layer; rank 0 where it is not adapted."""
        if not (any(fits(pattern, names) for pattern in self.targets) if self.targets else not of_experts):
            return 0, 0.0
        if self.layers and layer not in self.layers:
            return 0, 0.0
        rank = next((int(value) for pattern, value in self.rank_pattern if fits(pattern, names)), self.rank)
        alpha = next((value for pattern, value in self.alpha_pattern if fits(pattern, names)), self.alpha)
        return rank, alpha / (math.sqrt(rank) if self.rslora else rank)

    def init(self, key: PRNGKeyArray, of: Chosen, kernel: Any) -> Leaves:
        """A uniform, B zero; with `dora`, the norms of the kernel."""
        one = of.map
        into, out = one.shape[one.stacked : one.stacked + one.inputs], one.shape[one.stacked + one.inputs :]
        lead, limit = one.shape[: one.stacked], 1 / math.sqrt(math.prod(into))
        a = jax.random.uniform(key, (*lead, *into, of.rank), jnp.float32, -limit, limit)
        if len(set(of.ranks)) > 1:
            a = a * _by_layer(np.arange(of.rank) < np.asarray(of.ranks)[:, None], a, last=True)
        leaves = {"a": a, "b": jnp.zeros((*lead, of.rank, *out), jnp.float32)}
        if self.dora:
            leaves["scale"] = _norm(kernel.astype(jnp.float32), one)
        return leaves

    def axes(self, of: Chosen) -> dict[str, tuple[str | None, ...]]:
        """A is split like the inputs of the kernel, B like its outputs; the rank is not split."""
        one = of.map
        lead, rest = one.axes[: one.stacked], one.axes[one.stacked :]
        into, out = rest[: one.inputs], rest[one.inputs :]
        axes = {leaf: (*lead, *self.split(leaf, into, out)) for leaf in "ab"}
        return axes | ({"scale": (*lead, *out)} if self.dora else {})

    @staticmethod
    def split(leaf: str, into: tuple[str | None, ...], out: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """Axis names of "a" or "b" of one layer and expert."""
        return (*into, None) if leaf == "a" else (None, *out)

    def ready(self, of: Chosen, leaves: Leaves, key: PRNGKeyArray | None) -> Leaves:
        """B times its scale, and what drops inputs out."""
        b = leaves["b"]
        scales = np.asarray(of.scales, np.float32)
        made = {**leaves, "b": b * (scales[0] if len(set(of.scales)) == 1 else _by_layer(scales, b))}
        if self.dora and not all(of.ranks):  # layers that are not adapted keep their norms
            live = _by_layer(np.asarray(of.ranks) > 0, leaves["scale"])
            made["scale"] = jnp.where(live > 0, leaves["scale"], jax.lax.stop_gradient(leaves["scale"]))
        if key is not None:
            lead = of.map.shape[: of.map.stacked]
            made["key"] = jax.random.key_data(jax.random.split(key, lead))
            made["keep"] = jnp.full(lead, 1 - self.dropout, jnp.float32)
        return made

    @staticmethod
    def apply(
        leaves: Leaves, x: Float[Array, "*N I"], y: Float[Array, "*N O"], kernel: Float[Array, "I O"]
    ) -> Float[Array, "*N O"]:
        """`y + B A drop(x)`, times `m / ||W + B A||` with DoRA; B has its scale in it."""
        a = leaves["a"].reshape(x.shape[-1], -1)
        b = leaves["b"].reshape(a.shape[-1], -1)
        inner = x
        if "key" in leaves:
            keep = leaves["keep"]
            kept = jax.random.bernoulli(jax.random.wrap_key_data(leaves["key"]), keep, x.shape)
            inner = jnp.where(kept, x / keep.astype(x.dtype), 0).astype(x.dtype)
        y = y + (inner @ a.astype(x.dtype)) @ b.astype(x.dtype)
        if "scale" in leaves:
            whole = jax.lax.stop_gradient(kernel.astype(jnp.float32) + a @ b)
            norm = jnp.sqrt(jnp.sum(whole**2, axis=0))
            y = y * (leaves["scale"].reshape(-1) / norm).astype(y.dtype)
        return y

    def merge(self, of: Chosen, leaves: Leaves, kernel: Any) -> Any:
        """`W + s B A`, times `m / ||W + s B A||` per output with DoRA."""
        one = of.map
        b = self.ready(of, leaves, None)["b"]
        lead = one.shape[: one.stacked]
        a, b = leaves["a"].reshape(*lead, -1, of.rank), b.reshape(*lead, of.rank, -1)
        whole = kernel + jnp.matmul(a, b, precision="highest").reshape(kernel.shape)
        if not self.dora:
            return whole
        ratio = leaves["scale"] / _norm(whole, one)
        return whole * jnp.expand_dims(ratio, tuple(range(one.stacked, one.stacked + one.inputs)))


def listed(maps: list[Linear]) -> str:
    """The names of linear maps without their layer, as here and as on the hub."""
    last = lambda name: re.sub(r"^.*\.\d+\.", "", name)
    ends = (dict.fromkeys((one.names[0][0], one.names[0][-1])) for one in maps)
    return ", ".join(dict.fromkeys(" = ".join(map(last, names)) for names in ends))


def fits(pattern: str, names: tuple[str, ...]) -> bool:
    """Whether a name, or the end of one behind a dot, is what the pattern says; `layers.N` may be `layers` alone."""
    also = tuple(re.sub(r"layers\.\d+\.", "layers.", name) for name in names)
    return any(re.fullmatch(rf"(.*\.)?({pattern})", name) for name in (*names, *also))


def _norm(kernel: Any, one: Linear) -> Any:
    """Norm of the weights of each output, `[*layers, *outputs]`."""
    return jnp.sqrt(jnp.sum(kernel**2, axis=tuple(range(one.stacked, one.stacked + one.inputs))))


def _by_layer(values: np.ndarray, like: Any, last: bool = False) -> Any:
    """Numbers by layer (and, with `last`, by last axis) in a shape that multiplies `like`."""
    rest = like.ndim - 1
    shape = (len(values), *(1,) * (rest - 1), values.shape[1]) if last else (len(values), *(1,) * rest)
    return jnp.asarray(values, jnp.float32).reshape(shape)
