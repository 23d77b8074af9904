"""The layers of a decoder: attention, one layer, and a group of layers of several kinds."""

from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtjax.distributed.sharding import constrain
from mtjax.model import attention, rope
from mtjax.model.cached_attention import cached_attention, written
from mtjax.model.layers import MLP, Dense, RMSNorm
from mtjax.model.lm_infinite import WHOLE, Far, near_window
from mtjax.model.mixture import Experts

if TYPE_CHECKING:
    from mtjax.model.decoder import DecoderConfig


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, over the row itself or over a cache."""

    config: "DecoderConfig"

    @nn.compact
    def __call__(self, x: Any, window: Any, layer: Any, cache: Any, place: dict[str, Any]) -> tuple[Any, Any]:
        """`[B, T, D] -> [B, T, D]`, and the cache of all layers with this call's keys and values in it."""
        c = self.config
        dense = lambda name, heads: Dense((c.width,), (heads, c.head_dim), c.init_scale, c.qkv_bias, name=name)(x)
        query, key, value = dense("query", c.heads), dense("key", c.kv_heads), dense("value", c.kv_heads)
        if c.qk_norm:
            norm = lambda name: RMSNorm(c.norm_eps, c.norm, 1 + c.qk_norm_joint, name=name)
            query, key = norm("query_norm")(query), norm("key_norm")(key)
        if c.clip_qkv is not None:
            query, key, value = (jnp.clip(each, -c.clip_qkv, c.clip_qkv) for each in (query, key, value))
        cos, sin = place["global"]
        if "local" in place:
            slides = window < WHOLE
            cos, sin = (jnp.where(slides, *pair) for pair in zip(place["local"], place["global"], strict=True))
        far = None
        if c.lm_infinite is not None:
            window, live = near_window(c.lm_infinite, c.max_length, window)
            far = Far(rope.rotate(query, *place["far"]), rope.rotate(key, *place["first"]), window, live)
        query, key = (rope.rotate(each, cos, sin) for each in (query, key))
        query = constrain(query, "batch", "length", "heads", "head_dim")
        if cache is None:
            seen = attention.packed_attention(c, query, key, value, place["segments"], window, far)
        else:
            made = {"key": key, "value": value} | ({} if far is None else {"first": far.key})
            cache = {name: written(cache, name, layer, each, place["positions"]) for name, each in made.items()}
            seen = cached_attention(c, query, cache, layer, place["positions"], window, far)
        return Dense((c.heads, c.head_dim), (c.width,), c.init_scale, name="out")(seen), cache


class Block(nn.Module):
    """One layer: attention, then MLP or experts, each normed where `norm_places` says and added to the stream."""

    config: "DecoderConfig"
    sparse: bool = False

    @nn.compact
    def __call__(self, carry: Any, window: Any, layer: Any, place: dict[str, Any]) -> tuple[Any, Any]:
        """The stream and the cache of all layers after this one; how tokens were routed (None without experts).

        The cache goes through the loop over layers with the stream and is written in place: as one of the arrays that
        are split by layer, it would be copied at every token.
        """
        c, (x, cache) = self.config, carry

        def norm(name: str, x: Any, where: str) -> Any:
            return RMSNorm(c.norm_eps, c.norm, name=name)(x) if c.norm_places in (where, "both") else x

        seen, cache = Attention(c, name="attention")(norm("attention_norm", x, "before"), window, layer, cache, place)
        x = constrain(x + norm("attention_post_norm", seen, "after"), "batch", "length", "activation")
        inner, routing = norm("mlp_norm", x, "before"), None
        if self.sparse and c.mixture is not None:
            experts = Experts(c.mixture, c.width, c.activation, c.init_scale, name="experts")
            out, routing = experts(inner, place["segments"])
        else:
            out = MLP(c.width, c.mlp_width, c.activation, c.init_scale, name="mlp")(inner)
        x = x + norm("mlp_post_norm", out, "after")
        return (constrain(x, "batch", "length", "activation"), cache), routing


class Group(nn.Module):
    """Layers of several kinds, one after the other, which the decoder repeats; `block` makes one of them."""

    config: "DecoderConfig"
    block: Any

    @nn.compact
    def __call__(self, carry: Any, windows: Any, layers: Any, place: dict[str, Any]) -> tuple[Any, Any]:
        """As `Block`, with one more axis in front of windows, layers and routing."""
        out = []
        for number, sparse in enumerate(self.config.blocks):
            made = self.block(self.config, sparse, name=f"block_{number}")
            carry, routing = made(carry, windows[number], layers[number], place)
            out += [] if routing is None else [routing]
        return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *out)
