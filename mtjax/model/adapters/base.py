"""The contract of an adapter, and the wrapper that makes an adapted `LanguageModel` of any model and an adapter.

The parameters of an adapted model are `{"base": those of the model, "adapter": {...}}`. The adapter's leaves have the
paths of the linear maps that they belong to. For a forward pass they are put beside the kernels, where every linear map
(`linear`) finds its own: a family of models needs no code for adapters.
"""

import contextvars
import functools
import operator
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mtjax.model.adapters.names import hub_names, names_of, of_each
from mtjax.registry import Registry
from mtjax.types import LanguageModel, Params, Routing

Leaves = Mapping[str, Any]
"""The arrays of one linear map; their first axis is the layer where the maps of all layers are stacked."""

ADAPTERS = Registry("adapter", requires=("chosen", "init", "axes", "ready", "apply", "merge"))
"""Every adapter by name."""


class Linear(NamedTuple):
    """One linear map of a model, in all layers: its matrix `[*inputs, *outputs]`, behind axes of layers and experts."""

    path: tuple[str, ...]  # of its module in the parameter tree, such as ("layers", "attention", "query")
    shape: tuple[int, ...]  # of its kernel
    axes: tuple[str | None, ...]  # the names of these axes
    inputs: int  # how many of them are inputs
    names: tuple[tuple[str, ...], ...]  # what its matrix is called, layer by layer; see `names_of`
    numbers: tuple[int, ...] = (0,)  # of its layers in the model

    @property
    def stacked(self) -> int:
        """How many leading axes count layers and experts: 0 to 2."""
        return self.axes.count("layers") + self.axes.count("experts")

    @property
    def experts(self) -> int:
        """How many experts of a mixture have such a map; 0 for one outside of a mixture."""
        return self.shape[self.axes.index("experts")] if "experts" in self.axes else 0

    @property
    def kernel(self) -> tuple[str, ...]:
        """The path of its matrix; the matrices of experts are leaves of one module."""
        return self.path if self.experts else (*self.path, "kernel")

    def beside(self, adapter: str) -> tuple[str, ...]:
        """The path, beside the matrix, at which a forward pass finds what an adapter has for it."""
        return (*self.path[:-1], f"{self.path[-1]}_{adapter}") if self.experts else (*self.path, adapter)

    def hub(self, layer: int) -> list[str]:
        """The names of its matrices of one layer in files of PEFT: one, or one for each expert."""
        name = self.names[layer][-1]
        return [of_each(name, number) for number in range(self.experts)] or [name]

    @property
    def layers(self) -> int:
        """The number of its layers; 1 where it is not stacked."""
        return len(self.names)


class Adapter(Protocol):
    """A frozen dataclass whose fields are its settings.

    The mapping `chosen` has an entry for each linear map that is adapted: what the adapter's other methods need to know
    of it. Leaves are float32.
    """

    base_dtype: Literal["float32", "bfloat16"]  # type of the parameters of the model below
    # One whose part depends on the token, and so has no merged matrix, says `mergeable = False`. One that mixes experts
    # has `route(leaves, x) -> [*N, E]`: their weights, which regularizers see (`AdapterRouting`).
    # An adapter that may be put on the experts of a mixture has, too, `split(leaf, into, out)`: the axis names of a
    # leaf of one expert, from those of its inputs and outputs.

    def chosen(self, maps: list[Linear]) -> dict[tuple[str, ...], Any]:
        """Which linear maps are adapted, by path; InputError for settings that fit none."""
        ...

    def init(self, key: PRNGKeyArray, of: Any, kernel: Any) -> Leaves:
        """Fresh leaves of a map, with which it computes what it computed before; `kernel` is that of the base."""
        ...

    def axes(self, of: Any) -> dict[str, tuple[str | None, ...]]:
        """Names of the axes of each leaf, see `mtjax.distributed.sharding.RULES`."""
        ...

    def ready(self, of: Any, leaves: Leaves, key: PRNGKeyArray | None) -> Leaves:
        """What `apply` is given, made once per forward pass; with a key, activations are dropped out."""
        ...

    @staticmethod
    def apply(
        leaves: Leaves, x: Float[Array, "*N I"], y: Float[Array, "*N O"], kernel: Float[Array, "I O"]
    ) -> Float[Array, "*N O"]:
        """The output of the adapted map in one layer, from its input and what the base gives, without the bias."""
        ...

    def merge(self, of: Any, leaves: Leaves, kernel: Any) -> Any:
        """The kernel with which the base alone computes what the adapted map computes, in float32."""
        ...


ROUTED = "routed"  # the collection of a Flax module that holds how adapters mixed their experts

_FOUND: contextvars.ContextVar[dict[tuple[str, ...], tuple[int, int]] | None] = contextvars.ContextVar(
    "found", default=None
)


def linear(module: Any, x: Float[Array, "*N I"], kernel: Float[Array, "I O"]) -> Float[Array, "*N O"]:
    """`x @ kernel`, and what the adapters beside the kernel make of it: the product of every linear map of a model.

    `module` is the Flax module that owns the kernel and has the shapes `inputs` and `outputs`.
    """
    if (found := _FOUND.get()) is not None:
        found[tuple(module.path)] = len(module.inputs), len(module.outputs)
    own = module.variables.get("params", {})
    for name in (name for name in ADAPTERS if name in own and hasattr(ADAPTERS[name], "route")):
        module.sow(ROUTED, name, ADAPTERS[name].route(own[name], x))
    return product(x, {"kernel": kernel, **{name: own[name] for name in ADAPTERS if name in own}})


def product(x: Float[Array, "*N I"], own: Mapping[str, Any]) -> Float[Array, "*N O"]:
    """`x @ kernel`, and what adapters make of it; `own` has the kernel and, by name, the leaves of each adapter."""
    y = x @ own["kernel"].astype(x.dtype)
    for name in own.keys() - {"kernel"}:
        y = ADAPTERS[name].apply(own[name], x, y, own["kernel"])
    return y


def of_experts(module: Any, kernels: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The stacked kernels of a mixture, each as `product` takes them, with leaves of all experts."""
    if (found := _FOUND.get()) is not None:
        found.update({(*module.path, name): (1, 1) for name in kernels})
    own = module.variables.get("params", {})
    beside = lambda side: {name: own[f"{side}_{name}"] for name in ADAPTERS if f"{side}_{name}" in own}
    return {side: {"kernel": kernel, **beside(side)} for side, kernel in kernels.items()}


def linear_maps(model: LanguageModel) -> list[Linear]:
    """Every linear map of a model that an adapter may be put on, found by tracing its `init`."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    token = _FOUND.set(found)
    try:
        shapes = jax.eval_shape(lambda key: model.init(key), jax.random.key(0))  # a new function is traced anew
    finally:
        _FOUND.reset(token)
    hub = hub_names(model.config)
    maps = []
    for path, (inputs, _) in found.items():
        own, axes = at(shapes, path), at(model.axes, path)
        shape, axes = (own["kernel"].shape, axes["kernel"]) if isinstance(own, Mapping) else (own.shape, axes)
        first, step = 0, 1
        if path[0] == "layers" and path[1].startswith("block_"):  # every so-manieth layer
            first, step = int(path[1].removeprefix("block_")), len(model.config.blocks)
        numbers = tuple(first + step * place for place in range(shape[0] if axes[0] == "layers" else 1))
        names = tuple(names_of(path, hub, number) for number in numbers)
        maps.append(Linear(path, shape, axes, inputs, names, numbers))
    return maps


def chosen_maps(model: LanguageModel, adapter: Any) -> tuple[dict[tuple[str, ...], Any], dict[tuple[str, ...], Linear]]:
    """What `adapter.chosen` gives for a model without an adapter, and the linear maps that it is offered, by path."""
    maps = [one for one in linear_maps(model) if not one.experts or hasattr(adapter, "split")]
    return adapter.chosen(maps), {one.path: one for one in maps}


def at(tree: Any, path: tuple[str, ...]) -> Any:
    """The part of a tree at a path."""
    return functools.reduce(operator.getitem, path, tree)


def put(tree: Any, parts: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """A copy of a tree of dicts in which the part at each path is replaced; its arrays are shared."""
    out = {name: put(value, {}) if isinstance(value, Mapping) else value for name, value in tree.items()}
    for path, part in parts.items():
        inner: dict[str, Any] = out
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = part
    return out


def walk(tree: Any, paths: Mapping[tuple[str, ...], Any]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Path, entry of `paths` and part of the tree there, for each path."""
    for path, of in paths.items():
        yield path, of, at(tree, path)


def adapt(model: LanguageModel, adapter: Any, config: Any) -> LanguageModel:
    """The adapted model, with `config` as its settings: `model` with `adapter` on the linear maps that it chooses.

    Raises InputError for settings of the adapter that do not fit the model.
    """
    name = ADAPTERS.name_of(adapter)
    chosen, maps = chosen_maps(model, adapter)

    def complete(key: PRNGKeyArray, params: Params) -> Params:
        if "adapter" in params:
            return params
        key, leaves = jax.random.fold_in(key, 1), {}
        for number, (path, of) in enumerate(chosen.items()):
            kernel = at(params["base"], maps[path].kernel)
            leaves[path] = adapter.init(jax.random.fold_in(key, number), of, kernel)
        return {**params, "adapter": put({}, leaves)}

    def init(key: PRNGKeyArray) -> Params:
        return complete(key, {"base": jax.tree.map(lambda x: x.astype(adapter.base_dtype), model.init(key))})

    def together(params: Params) -> Params:
        """The base with the leaves of the adapter beside its kernels."""
        noise: Any = params.get("noise")
        ready = {}
        for number, (path, of, leaves) in enumerate(walk(params["adapter"], chosen)):
            key = None if noise is None else jax.random.fold_in(noise, number)
            ready[maps[path].beside(str(name))] = adapter.ready(of, leaves, key)
        whole = put(params["base"], ready)
        return whole if noise is None or model.with_noise is None else model.with_noise(whole, noise)

    def hidden(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        return model.hidden(together(params), tokens, segments)

    def logits(params: Params, hidden: Float[Array, "*N D"]) -> Float[Array, "*N V"]:
        return model.logits(params["base"], hidden)

    def decode(params: Params, *rest: Any) -> Any:
        return model.decode(together(params), *rest)

    def routed(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> tuple[Array, Routing]:
        return model.routed(together(params), tokens, segments)  # type: ignore[misc]

    def watched(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Any:
        return model.watched(together(params), tokens, segments)  # type: ignore[misc]

    sees = hasattr(adapter, "route") and model.watched is not None
    axes = {"base": model.axes, "adapter": put({}, {path: adapter.axes(of) for path, of in chosen.items()})}
    drops = getattr(adapter, "dropout", 0) or model.with_noise is not None
    noisy = (lambda params, key: {**params, "noise": key}) if drops else None
    own = None if model.routed is None else routed
    return model._replace(
        config=config, init=init, hidden=hidden, logits=logits, decode=decode, axes=axes, frozen=("base",),
        complete=complete, with_noise=noisy, routed=own, watched=watched if sees else None,
    )  # fmt: skip


def merged(model: LanguageModel, plain: LanguageModel, params: Params) -> Params:
    """The parameters of `plain`, the model without the adapter, that compute what the adapted `model` computes.

    In float32, placed like those of the base. Formula and cost are those of the adapter's `merge`.
    """
    adapter: Any = model.config.adapter
    chosen, maps = chosen_maps(plain, adapter)

    def merge(params: Params) -> Params:
        wide = jax.tree.map(lambda x: x.astype(jnp.float32), params["base"])
        kernels = {
            maps[path].kernel: adapter.merge(of, leaves, at(wide, maps[path].kernel))
            for path, of, leaves in walk(params["adapter"], chosen)
        }
        return put(wide, kernels)

    places = jax.tree.map(lambda x: getattr(x, "sharding", None), params["base"])
    known = None not in jax.tree.leaves(places, is_leaf=lambda x: x is None)
    out: Params = jax.jit(merge, out_shardings=places if known else None)(dict(params))
    return out
