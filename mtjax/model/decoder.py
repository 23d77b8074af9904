"""The decoder: one scanned Linen block, and its settings, which cover every family of `families/`."""

import dataclasses
import functools
import math
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Int

from mtjax.distributed.sharding import constrain
from mtjax.errors import InputError
from mtjax.model import attention, rope
from mtjax.model.adapters import AnyAdapter
from mtjax.model.adapters.base import ROUTED
from mtjax.model.block import Block, Group
from mtjax.model.encoder import Encoder
from mtjax.model.kernels import Asked
from mtjax.model.layers import Activation, Norm, RMSNorm
from mtjax.model.lm_infinite import WHOLE, LmInfinite
from mtjax.model.mixture import Mixture
from mtjax.model.neftune import embedding_noise
from mtjax.model.value_head import ValueHead
from mtjax.types import Routing
from mtjax.validation import PositiveInt, check_types

UNROLL_LAYERS = 4  # a loop over so few layers costs more than it saves
EVERYTHING = WHOLE  # a window past any length
WITH_ENCODER = (
    "vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "mlp_width", "encoder", "activation", "norm_eps",
    "tied", "max_length", "remat", "attention", "dtype", "adapter",
)  # fmt: skip
"""Settings that a decoder with an encoder has."""
NonNegative = Annotated[float, Ge(0), Lt(math.inf)]
Positive = Annotated[float, Gt(0), Lt(math.inf)]
Theta = Annotated[float, Gt(1), Lt(math.inf)]


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
    mixture: Mixture | None = None  # Experts in place of the MLP.
    encoder: Encoder | None = None  # An encoder that reads the prompt (T5); the decoder then has its shape.
    activation: Activation = "silu"  # Of the gate in the MLP; "gelu_tanh" is GELU's approximation (Gemma).
    rope_theta: Theta = 10_000.0  # Base of the rotary frequencies.
    rope_scaling: rope.RopeScaling | None = None  # Stretch of the rotary frequencies, if any.
    local_theta: Theta | None = None
    """Base of the layers that slide, which are then not stretched (Gemma 3, OLMo 3); None: as in the others."""
    rotary_dim: PositiveInt | None = None  # First dimensions of a head that are rotated, even (Phi-4); None: all.
    norm_eps: NonNegative = 1e-5  # Added to the mean square in RMSNorm.
    norm: Norm = "scale"
    """Scale after the cast back (Llama), in float32 before it (OLMo 2), or 1 + scale in float32 (Gemma)."""
    norm_places: Literal["before", "after", "both"] = "before"
    """Where attention and MLP are normed: their input, their output (OLMo 2), or both (Gemma)."""
    tied: bool = False  # The head is the transposed embedding.
    embed_scale: bool = False  # Embeddings are multiplied by sqrt(D), rounded to `dtype` (Gemma).
    qkv_bias: bool = False  # Biases on query, key and value (Qwen2).
    clip_qkv: Positive | None = None  # Query, key and value are clipped to this magnitude (OLMoE).
    qk_norm: bool = False  # RMSNorm over each head's query and key, before the rotary embedding (Qwen3).
    qk_norm_joint: bool = False  # `qk_norm` is over all heads together, not over each (OLMo 2).
    query_scalar: PositiveInt | None = None  # Scores are divided by its square root (Gemma); None: `head_dim`.
    score_cap: Positive | None = None  # Scores become `cap tanh(score / cap)` before the mask (Gemma 2).
    logit_cap: Positive | None = None  # Logits become `cap tanh(logit / cap)` (Gemma 2).
    window: PositiveInt | None = None  # Sliding window in tokens, the token itself included; None sees everything.
    window_layers: tuple[bool, ...] | None = None  # Which layers slide; None means all, when `window` is set.
    lm_infinite: LmInfinite | None = None  # Attention for texts of any length, in layers that do not slide.
    max_length: PositiveInt = 2048  # Longest sequence it was made for, in tokens.
    remat: Literal["auto", "none", "full", "dots"] = "auto"
    """What the backward pass computes again: nothing, whole blocks, or all but matrix products. `auto` is what a run
    chooses by its shapes and the memory of a device (`mtjax.training.fitting`), and nothing outside of a run."""
    attention: Asked = "auto"
    """Kernel of training and scoring: the platform's own (splash on TPU, cudnn or triton on GPU), or by name."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations and products; parameters, norms, softmax and logits stay float32."""
    init_scale: NonNegative = 0.02  # Standard deviation of initial matrices.
    adapter: AnyAdapter = None
    """Small matrices that are trained in place of the model's own, which stay as they are; None trains all."""

    neftune_alpha: Positive | None = None
    """Strength of noise on the embeddings while training (NEFTune): uniform in `+- alpha / sqrt(n D)`, n tokens in the
    text; 5 is usual, 10 and 15 are tried too. None adds none; nothing but the training loss ever sees it."""
    value_head: ValueHead | None = None  # A head on the hidden states that expects how a text ends (AlphaMath).

    def __post_init__(self) -> None:
        check_types(self, "model")
        if self.encoder is not None:
            self._check_with_encoder()
            return
        if self.heads % self.kv_heads:
            raise InputError(f"model.heads={self.heads} must be a multiple of model.kv_heads={self.kv_heads}")
        if self.head_dim % 2:
            raise InputError(f"model.head_dim={self.head_dim}: rotary embedding turns pairs, so it must be even")
        if self.rotary_dim is not None and (self.rotary_dim % 2 or self.rotary_dim > self.head_dim):
            raise InputError(f"model.rotary_dim={self.rotary_dim}: expected an even number up to {self.head_dim}")
        if self.qk_norm_joint and not self.qk_norm:
            raise InputError("model.qk_norm_joint=True changes model.qk_norm, which is False; set it to True")
        factors = self.rope_scaling.short_factor if self.rope_scaling else None
        if factors is not None and len(factors) != (self.rotary_dim or self.head_dim) // 2:
            raise InputError(
                f"rope_scaling.short_factor and long_factor have {len(factors)} numbers; expected one for each of "
                f"{(self.rotary_dim or self.head_dim) // 2} pairs of rotated dimensions"
            )
        kind = self.rope_scaling.kind if self.rope_scaling else ""
        if self.lm_infinite is not None and kind in ("dynamic", "longrope"):
            raise InputError(
                f"model.lm_infinite: expected fixed rotary angles, and those of '{kind}' change with the length"
            )
        if self.window_layers is not None and len(self.window_layers) != self.layers:
            raise InputError(f"model.window_layers names {len(self.window_layers)} layers, the model has {self.layers}")

    def _check_with_encoder(self) -> None:
        """InputError for a setting that a decoder with an encoder does not have."""
        if self.kv_heads != self.heads:
            raise InputError(
                f"model.kv_heads={self.kv_heads} with model.encoder: each of the {self.heads} heads has its own keys; "
                f"set --model.kv_heads={self.heads}"
            )
        if self.attention not in ("auto", "plain"):
            raise InputError(
                f"model.attention='{self.attention}' with model.encoder: the kernels have no position bias; set "
                "--model.attention=plain or auto"
            )
        for field in dataclasses.fields(self):
            if field.name not in WITH_ENCODER and getattr(self, field.name) != field.default:
                raise InputError(
                    f"model.{field.name}={getattr(self, field.name)} with model.encoder: an encoder-decoder (T5) has "
                    f"no such setting; leave it at {field.default}, or set model.encoder to None"
                )

    @property
    def blocks(self) -> tuple[bool, ...]:
        """Which blocks of a scanned group are mixtures; one block where all layers are alike.

        Layers are scanned in groups of the shortest pattern that repeats: (False, True) where every second is one.
        """
        if self.mixture is None:
            return (False,)
        kinds = tuple(layer not in self.mixture.dense_layers for layer in range(self.layers))
        fits = lambda size: self.layers % size == 0 and kinds == kinds[:size] * (self.layers // size)
        return kinds[: next(size for size in range(1, self.layers + 1) if fits(size))]

    @property
    def idle(self) -> int:
        """Parameters that a token does not use: those of experts that it is not routed to."""
        if self.mixture is None:
            return 0
        sparse = sum(self.blocks) * (self.layers // len(self.blocks))
        return sparse * 3 * self.width * self.mixture.width * (self.mixture.experts - self.mixture.per_token)

    @property
    def windows(self) -> tuple[int, ...]:
        """Window of each layer; a number past any length where a layer does not slide."""
        slides = self.window_layers or (True,) * self.layers
        return tuple(min(self.window, EVERYTHING) if slide and self.window else EVERYTHING for slide in slides)


class Decoder(nn.Module):
    """Embedding, scanned blocks, final norm; the head is apart (`language_model.py`), since scores chunk it."""

    config: DecoderConfig

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segments: Int[Array, "B T"] | None,
        cache: Any,
        noise: Any = None,
    ) -> tuple[Float[Array, "B T D"], Any, Routing | None]:
        """Final hidden states, the cache after these tokens (then `segments` is None), and the routing of experts.

        `noise` is the key of the noise on embeddings, or None for none.
        """
        c = self.config
        dtype = jnp.dtype(c.dtype)
        table = self.param("embedding", nn.initializers.normal(c.init_scale), (c.vocab_size, c.width)).astype(dtype)
        # Gathered before the lookup: else rows and width compete for one mesh axis, and the partitioner replicates.
        table = constrain(table, "vocab", "activation")
        x = constrain(table[tokens], "batch", "length", "activation")
        if noise is not None and c.neftune_alpha is not None:
            x = x + embedding_noise(noise, c.neftune_alpha, segments, x)
        if c.embed_scale:
            x = x * jnp.asarray(math.sqrt(c.width), dtype)
        # Through a cache the length of a row is not known: the last position of the call stands for it. That of padding
        # may lie beyond the lengths that `init_cache` allows.
        scaling = c.rope_scaling
        limit = scaling.original_length if scaling is not None and scaling.kind == "longrope" else c.max_length
        longest = jnp.minimum(jnp.max(positions, axis=1, keepdims=True) + 1, limit)
        lengths = longest if segments is None else attention.lengths_of(segments)
        turned = c.rotary_dim or c.head_dim
        angles = lambda theta, scaling: rope.rotary(positions, lengths, theta, turned, scaling, c.max_length)
        place = {"positions": positions, "segments": segments, "global": angles(c.rope_theta, c.rope_scaling)}
        if c.lm_infinite is not None:
            at = lambda place: rope.rotary(
                jnp.full_like(positions, place), lengths, c.rope_theta, turned, c.rope_scaling, c.max_length
            )
            place |= {"far": at(c.lm_infinite.reach(c.max_length)[1]), "first": at(0)}
        if c.local_theta is not None:
            place["local"] = angles(c.local_theta, None)
        block = Block
        if c.remat in ("dots", "full"):
            policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if c.remat == "dots" else None
            block = nn.remat(Block, policy=policy, prevent_cse=False)
        kinds = c.blocks
        groups = c.layers // len(kinds)
        if cache is not None and isinstance(cache["key"], tuple):  # see mtjax.model.cached_attention
            x, cache = self._apart(x, cache, place)
            return RMSNorm(c.norm_eps, c.norm, name="final_norm")(x), cache, None
        scanned: Any = nn.scan(
            block if len(kinds) == 1 else Group,
            variable_axes={"params": 0, ROUTED: 0},
            split_rngs={"params": True},
            in_axes=(0, 0, nn.broadcast),
            length=groups,
            unroll=groups if groups <= UNROLL_LAYERS else 1,
        )
        by_layer = (jnp.asarray(c.windows, jnp.int32), jnp.arange(c.layers))
        if len(kinds) == 1:
            (x, cache), routing = scanned(c, kinds[0], name="layers")((x, cache), *by_layer, place)
        else:
            by_group = jax.tree.map(lambda leaf: leaf.reshape(groups, len(kinds)), by_layer)
            (x, cache), routing = scanned(c, block, name="layers")((x, cache), *by_group, place)
            routing = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), routing)
        return RMSNorm(c.norm_eps, c.norm, name="final_norm")(x), cache, routing

    def _apart(self, x: Any, cache: Any, place: Any) -> tuple[Any, Any]:
        """The stream and the cache after all layers, each of which has arrays of its own."""
        c, size = self.config, len(self.config.blocks)
        run = _group_apart(c)
        after: dict[str, tuple[Any, ...]] = dict.fromkeys(cache, ())
        for group in range(c.layers // size):
            own = slice(group * size, (group + 1) * size)
            held = {name: arrays[own] for name, arrays in cache.items()}
            windows = [jnp.int32(window) for window in c.windows[own]]
            x, held = run(self.variables["params"][f"layer_{group}"], x, held, windows, place)
            after = {name: (*arrays, *held[name]) for name, arrays in after.items()}
        return x, after


@functools.lru_cache(maxsize=16)
def _group_apart(c: DecoderConfig) -> Any:
    """A group of layers (`DecoderConfig.blocks`) as a compiled function, so that all groups share one trace."""
    size = len(c.blocks)
    made = Block(c, c.blocks[0], parent=None) if size == 1 else Group(c, Block, parent=None)

    @jax.jit
    def run(params: Any, x: Any, held: Any, windows: Any, place: Any) -> Any:
        numbered = (windows[0], 0) if size == 1 else (windows, range(size))
        return made.apply({"params": params}, (x, held), *numbered, place)[0]

    return run
