"""The decoder as functions: `make_language_model(config)` gives a `LanguageModel`."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mtjax.distributed.sharding import constrain
from mtjax.errors import InputError
from mtjax.model.adapters import adapt, merged
from mtjax.model.adapters.base import ROUTED
from mtjax.model.attention import positions_of
from mtjax.model.cached_attention import apart, layers_apart, pages_for
from mtjax.model.decoder import Decoder, DecoderConfig
from mtjax.model.encoder_decoder import make_encoder_decoder
from mtjax.model.value_head import VALUE, with_value_head
from mtjax.types import LanguageModel, Params, Routing


def axes_of(config: DecoderConfig) -> dict[str, Any]:
    """Axis names of every parameter (keys of `distributed.sharding.RULES`), as a tree shaped like the parameters."""
    heads = lambda name: (
        {"kernel": ("layers", "embed", name, "head_dim")}
        | ({"bias": ("layers", name, "head_dim")} if config.qkv_bias else {})
    )
    norm = {"scale": ("layers", "norm")}
    attention: dict[str, Any] = {"query": heads("heads"), "key": heads("kv_heads"), "value": heads("kv_heads")}
    attention["out"] = {"kernel": ("layers", "heads", "head_dim", "embed")}
    for name, own in (("query_norm", "heads"), ("key_norm", "kv_heads")) if config.qk_norm else ():
        attention[name] = {"scale": ("layers", own, "head_dim")} if config.qk_norm_joint else norm
    wide, narrow = {"kernel": ("layers", "embed", "mlp")}, {"kernel": ("layers", "mlp", "embed")}
    mlp = {"gate": wide, "up": wide, "down": narrow}
    expert = ("layers", "experts", "expert_embed", "mlp")
    experts: dict[str, Any] = {"router": ("layers", "embed", None), "gate": expert, "up": expert}
    experts["down"] = ("layers", "experts", "mlp", "expert_embed")
    if config.mixture is not None and config.mixture.shared_width:
        experts |= {"shared": mlp, "shared_gate": {"kernel": ("layers", "embed", None)}}
    layers = {"attention": attention}
    for where, after in (("before", ""), ("after", "_post")):
        if config.norm_places in (where, "both"):
            layers |= {f"attention{after}_norm": norm, f"mlp{after}_norm": norm}
    kinds: tuple[dict[str, Any], ...] = ({"mlp": mlp}, {"experts": experts})
    blocks = [layers | kinds[sparse] for sparse in config.blocks]
    layers = blocks[0] if len(blocks) == 1 else {f"block_{number}": own for number, own in enumerate(blocks)}
    axes = {"embed": {"embedding": ("vocab", "embed")}, "layers": layers, "final_norm": {"scale": ("norm",)}}
    return axes if config.tied else axes | {"head": {"kernel": ("embed", "vocab")}}


@functools.lru_cache(maxsize=16)
def make_language_model(config: DecoderConfig) -> LanguageModel:
    """The functions of a decoder, with its adapter. Equal settings give equal functions, so that programs are shared.

    >>> model = make_language_model(DecoderConfig(vocab_size=32, width=16, layers=2, heads=2, kv_heads=1, head_dim=8))
    >>> params = jax.eval_shape(model.init, jax.random.key(0))
    >>> params["layers"]["mlp"]["up"]["kernel"].shape
    (2, 16, 192)
    """
    if config.value_head is not None:
        return with_value_head(make_language_model(dataclasses.replace(config, value_head=None)), config)
    if config.adapter is not None:
        return adapt(make_language_model(dataclasses.replace(config, adapter=None)), config.adapter, config)
    if config.encoder is not None:
        return make_encoder_decoder(config)
    network = Decoder(config)
    dtype = jnp.dtype(config.dtype)

    def init(key: PRNGKeyArray) -> Params:
        body, head = jax.random.split(key)
        tokens = jnp.zeros((1, 1), jnp.int32)
        plain = Decoder(dataclasses.replace(config, attention="plain"))  # kernels want longer rows than one token
        inner = plain.init(body, tokens, tokens, tokens, None)["params"]
        params = {"embed": {"embedding": inner.pop("embedding")}, **inner}
        if not config.tied:
            shape = (config.width, config.vocab_size)
            params["head"] = {"kernel": config.init_scale * jax.random.normal(head, shape)}
        return params

    def body(params: Params) -> dict[str, Any]:
        layers = params["layers"]
        inner = {f"layer_{n}": own for n, own in enumerate(layers)} if isinstance(layers, tuple) else {"layers": layers}
        inner["final_norm"] = params["final_norm"]
        return {"params": {"embedding": params["embed"]["embedding"], **inner}}

    def noise_of(params: Params) -> Any:
        """The key of the noise on embeddings in a forward pass of training; others bring none."""
        return jax.random.fold_in(params["noise"], 3) if "noise" in params else None

    def hidden(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        return network.apply(body(params), tokens, positions_of(segments), segments, None, noise_of(params))[0]

    def routed(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> tuple[Array, Routing]:
        made: Any = network.apply(body(params), tokens, positions_of(segments), segments, None, noise_of(params))
        return made[0], made[2]

    def watched(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> tuple[Array, Any, Any]:
        positions = positions_of(segments)
        given = (tokens, positions, segments, None, noise_of(params))
        made, seen = network.apply(body(params), *given, mutable=[ROUTED])
        by_path = jax.tree_util.tree_leaves_with_path(seen.get(ROUTED, {}))
        name = lambda path: ".".join(str(part.key) for part in path[:-2])  # without the adapter's and the call's
        return made[0], made[2], {name(path): x.reshape(len(x), *tokens.shape, -1) for path, x in by_path}

    def logits(params: Params, hidden: Float[Array, "*N D"]) -> Float[Array, "*N V"]:
        kernel = params["embed"]["embedding"].T if config.tied else params["head"]["kernel"]
        out = jnp.matmul(hidden.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32)
        return out if config.logit_cap is None else config.logit_cap * jnp.tanh(out / config.logit_cap)

    def init_cache(batch_size: int, length: int) -> dict[str, Any]:
        scaling = config.rope_scaling
        if scaling is not None and scaling.kind == "dynamic" and length > config.max_length:
            raise InputError(
                f"a cache of {length} positions, model.max_length={config.max_length}: beyond it dynamic scaling "
                "turns all keys again with every token, cached ones too; stay within it, or recompute"
            )
        if scaling is not None and scaling.kind == "longrope" and length > scaling.original_length:
            raise InputError(
                f"a cache of {length} positions, rope_scaling.original_length={scaling.original_length}: beyond it "
                "longrope turns all keys by other factors, cached ones too; let prompt and answer together stay "
                "within it, or recompute"
            )
        pages, size = pages_for(config, length)
        names = ("layers", None, "batch", "kv_heads", None, None)
        lead = (pages, batch_size, config.kv_heads)

        def empty(lead: tuple[int, ...], names: tuple[str | None, ...], *shape: int) -> Any:
            if not layers_apart():
                return constrain(jnp.zeros((config.layers, *lead, *shape), dtype), *names)
            return tuple(constrain(jnp.zeros((*lead, *shape), dtype), *names[1:]) for _ in range(config.layers))

        cache = {"key": empty(lead, names, config.head_dim, size), "value": empty(lead, names, size, config.head_dim)}
        if config.lm_infinite is not None:
            cache["first"] = empty(lead[1:], (names[0], *names[2:]), config.lm_infinite.starting, config.head_dim)
        return cache

    def decode(
        params: Params, cache: Any, tokens: Int[Array, "B N"], positions: Int[Array, "B N"]
    ) -> tuple[Float[Array, "B N D"], Any]:
        params = apart(params) if isinstance(cache["key"], tuple) else params
        return network.apply(body(params), tokens, positions, None, cache)[:2]

    own = None if config.mixture is None else routed
    noisy = None if config.neftune_alpha is None else lambda params, key: {**params, "noise": key}
    parts = (config, init, hidden, logits, init_cache, decode, axes_of(config))
    return LanguageModel(*parts, routed=own, watched=watched, with_noise=noisy)


def can_merge(model: LanguageModel) -> bool:
    """Whether the model has no adapter, or one that can be merged into its matrices."""
    return getattr(model.config.adapter, "mergeable", True)


def without_adapter(model: LanguageModel, params: Params) -> tuple[LanguageModel, Params]:
    """The model with its adapter merged into its matrices, in float32; a model without one as it is."""
    if model.config.adapter is None:
        return model, params
    if not can_merge(model):
        model.config.adapter.merge(None, {}, None)  # says why
    plain = make_language_model(dataclasses.replace(model.config, adapter=None))
    return plain, {**merged(model, plain, params), **{name: params[name] for name in (VALUE,) if name in params}}
