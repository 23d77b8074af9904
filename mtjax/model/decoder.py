"""The decoder: one scanned Linen block of the Llama kind, and its settings."""

import dataclasses
import math
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Int

from mtjax.distributed.sharding import constrain, mesh_in_force, ways
from mtjax.errors import InputError
from mtjax.model import attention, rope
from mtjax.model.adapters import AnyAdapter, linear
from mtjax.model.kernels import Asked
from mtjax.validation import PositiveInt, check_types

UNROLL_LAYERS = 4  # a loop over so few layers costs more than it saves
NonNegative = Annotated[float, Ge(0), Lt(math.inf)]


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Shape and numerics of a decoder; the defaults are a small one for tests and demos."""

    vocab_size: PositiveInt = 64  # Rows of the embedding, V.
    width: PositiveInt = 64  # Width of the residual stream, D.
    layers: PositiveInt = 3  # Blocks, L.
    heads: PositiveInt = 4  # Query heads, H.
    kv_heads: PositiveInt = 4  # Key and value heads, G; divides `heads`.
    head_dim: PositiveInt = 16  # Width of a head, K; even. `heads * head_dim` need not equal `width`.
    mlp_width: PositiveInt = 192  # Hidden width of the gated MLP, F.
    rope_theta: Annotated[float, Gt(1), Lt(math.inf)] = 10_000.0  # Base of the rotary frequencies.
    rope_scaling: rope.RopeScaling | None = None  # Stretch of the rotary frequencies, if any.
    norm_eps: NonNegative = 1e-5  # Added to the mean square in RMSNorm.
    tied: bool = False  # The head is the transposed embedding.
    qkv_bias: bool = False  # Biases on query, key and value (Qwen2).
    qk_norm: bool = False  # RMSNorm over each head's query and key, before the rotary embedding (Qwen3).
    window: PositiveInt | None = None  # Sliding window in tokens, the token itself included; None sees everything.
    window_layers: tuple[bool, ...] | None = None  # Which layers slide; None means all, when `window` is set.
    max_length: PositiveInt = 2048  # Longest sequence it was made for, in tokens.
    remat: Literal["none", "full", "dots"] = "none"
    """What the backward pass computes again: nothing, whole blocks, or all but matrix products."""
    attention: Asked = "auto"
    """Kernel of training and scoring: the platform's own (splash on TPU, triton on GPU) where it can, or by name."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations and products; parameters, norms, softmax and logits stay float32."""
    init_scale: NonNegative = 0.02  # Standard deviation of initial matrices.
    adapter: AnyAdapter = None
    """Small matrices that are trained in place of the model's own, which stay as they are; None trains all."""

    def __post_init__(self) -> None:
        check_types(self, "model")
        if self.heads % self.kv_heads:
            raise InputError(f"model.heads={self.heads} must be a multiple of model.kv_heads={self.kv_heads}")
        if self.head_dim % 2:
            raise InputError(f"model.head_dim={self.head_dim}: rotary embedding turns pairs, so it must be even")
        if self.window_layers is not None and len(self.window_layers) != self.layers:
            raise InputError(f"model.window_layers names {len(self.window_layers)} layers, the model has {self.layers}")

    @property
    def windows(self) -> tuple[int, ...]:
        """Window of each layer; a number past any length where a layer does not slide."""
        everything = 2**30
        slides = self.window_layers or (True,) * self.layers
        return tuple(min(self.window, everything) if slide and self.window else everything for slide in slides)


class RMSNorm(nn.Module):
    """`scale * x / sqrt(mean(x^2) + eps)`: the mean square in float32, cast back, then scaled."""

    eps: float

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + self.eps)
        return wide.astype(x.dtype) * scale.astype(x.dtype)


class Dense(nn.Module):
    """`x @ kernel + bias` over the last `len(inputs)` axes, done as one two-dimensional product.

    Written out because XLA's CPU backward pass of products with more axes is about twice as slow.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scale: float
    bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Shapes: `[B, T, *inputs] -> [B, T, *outputs]`."""
        kernel = self.param("kernel", nn.initializers.normal(self.scale), (*self.inputs, *self.outputs))
        lead, size = x.shape[:2], math.prod(self.outputs)
        # Rows and time may only be merged where time is whole on a device.
        rows = (lead[0] * lead[1],) if ways(mesh_in_force(), "length") == 1 else lead
        y = linear(self, x.reshape(*rows, -1), kernel.reshape(-1, size))
        y = y.reshape(*lead, *self.outputs)
        if self.bias:
            y = y + self.param("bias", nn.initializers.zeros, self.outputs).astype(x.dtype)
        return y


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, over the row itself or over a cache."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: Any, window: Any, cache: Any, place: dict[str, Any]) -> tuple[Any, Any]:
        """`[B, T, D] -> [B, T, D]`, and the cache with this call's keys and values in it."""
        c = self.config
        dense = lambda name, heads: Dense((c.width,), (heads, c.head_dim), c.init_scale, c.qkv_bias, name=name)(x)
        query, key, value = dense("query", c.heads), dense("key", c.kv_heads), dense("value", c.kv_heads)
        if c.qk_norm:
            query, key = RMSNorm(c.norm_eps, name="query_norm")(query), RMSNorm(c.norm_eps, name="key_norm")(key)
        query, key = (rope.rotate(each, place["cos"], place["sin"]) for each in (query, key))
        query = constrain(query, "batch", "length", "heads", "head_dim")
        if cache is None:
            seen = attention.packed_attention(c, query, key, value, place["segments"], window)
        else:
            rows, positions = jnp.arange(x.shape[0])[:, None], place["positions"]
            key = cache["key"].at[rows, positions].set(key.astype(cache["key"].dtype))
            value = cache["value"].at[rows, positions].set(value.astype(cache["value"].dtype))
            cache = {"key": key, "value": value}
            mask = attention.cached_mask(positions, key.shape[1], window)
            seen = attention.attend(query, key.astype(x.dtype), value.astype(x.dtype), mask)
        return Dense((c.heads, c.head_dim), (c.width,), c.init_scale, name="out")(seen), cache


class MLP(nn.Module):
    """The gated MLP `down(silu(gate x) * up x)`."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        c = self.config
        gate = Dense((c.width,), (c.mlp_width,), c.init_scale, name="gate")(x)
        up = Dense((c.width,), (c.mlp_width,), c.init_scale, name="up")(x)
        inner = constrain(jax.nn.silu(gate) * up, "batch", "length", "mlp")
        return Dense((c.mlp_width,), (c.width,), c.init_scale, name="down")(inner)


class Block(nn.Module):
    """One layer: attention, then the MLP, each behind a norm and added to the stream."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, x: Any, window: Any, cache: Any, place: dict[str, Any]) -> tuple[Any, Any]:
        c = self.config
        normed = RMSNorm(c.norm_eps, name="attention_norm")(x)
        seen, cache = Attention(c, name="attention")(normed, window, cache, place)
        x = constrain(x + seen, "batch", "length", "activation")
        x = x + MLP(c, name="mlp")(RMSNorm(c.norm_eps, name="mlp_norm")(x))
        return constrain(x, "batch", "length", "activation"), cache


class Decoder(nn.Module):
    """Embedding, scanned blocks, final norm; the head is apart (`language_model.py`), since scores chunk it."""

    config: DecoderConfig

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], segments: Int[Array, "B T"] | None, cache: Any
    ) -> tuple[Float[Array, "B T D"], Any]:
        """Final hidden states; with a cache (then `segments` is None), the cache after these tokens too."""
        c = self.config
        dtype = jnp.dtype(c.dtype)
        table = self.param("embedding", nn.initializers.normal(c.init_scale), (c.vocab_size, c.width)).astype(dtype)
        # Gathered before the lookup: else rows and width compete for one mesh axis, and the partitioner replicates.
        table = constrain(table, "vocab", "activation")
        x = constrain(table[tokens], "batch", "length", "activation")
        # Through a cache the length of a row is not known: the last position of the call stands for it.
        longest = jnp.max(positions, axis=1, keepdims=True) + 1
        lengths = longest if segments is None else attention.lengths_of(segments)
        cos, sin = rope.rotary(positions, lengths, c.rope_theta, c.head_dim, c.rope_scaling, c.max_length)
        place = {"cos": cos, "sin": sin, "positions": positions, "segments": segments}
        block = Block
        if c.remat != "none":
            policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if c.remat == "dots" else None
            block = nn.remat(Block, policy=policy, prevent_cse=False)
        layers = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, 0, nn.broadcast),
            length=c.layers,
            unroll=c.layers if c.layers <= UNROLL_LAYERS else 1,
        )
        x, cache = layers(c, name="layers")(x, jnp.asarray(c.windows, jnp.int32), cache, place)
        return RMSNorm(c.norm_eps, name="final_norm")(x), cache
