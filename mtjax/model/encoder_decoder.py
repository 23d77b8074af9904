"""An encoder-decoder of the shape of T5 as a `LanguageModel`: the encoder reads prompts, the decoder writes answers.

A segment of a row is prompt, end token, answer, end token. The encoder reads all up to the first end token, in both
directions. The decoder starts there, with `start_id` in place of that end token, and goes on with the answer; it sees
its own earlier tokens and what the encoder made of the prompt. So the state at t still predicts token t + 1, and all
that works on rows of a decoder works on these (docs/decisions/an_encoder_reads_the_prompt.md).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mtjax.distributed.sharding import constrain
from mtjax.model.attention import attend, packed_mask, positions_of
from mtjax.model.decoder import EVERYTHING, UNROLL_LAYERS, DecoderConfig
from mtjax.model.encoder import Encoder
from mtjax.model.layers import ACTIVATIONS, Dense, RMSNorm
from mtjax.model.relative import bucket_of, position_bias
from mtjax.types import LanguageModel, Params


class Roles(NamedTuple):
    """What each token of a row is."""

    read: Bool[Array, "B T"]  # by the encoder: the prompt and its end token
    starts: Bool[Array, "B T"]  # that end token, where the decoder starts
    written: Bool[Array, "B T"]  # the answer: what the decoder is given and predicts


def roles_of(tokens: Int[Array, "B T"], segments: Int[Array, "B T"], end_id: int) -> Roles:
    """What each token is, by the first `end_id` of its segment; all of a segment without one, and padding, is read."""
    ends = ((tokens == end_id) & (segments > 0)).astype(jnp.int32)
    before = jnp.cumsum(ends, axis=1) - ends  # end tokens on the left, in the row and then in the segment
    first = jnp.arange(tokens.shape[1]) - positions_of(segments)
    before = before - jnp.take_along_axis(before, first, axis=1)
    return Roles(before == 0, (before == 0) & (ends > 0), before > 0)


class Seen(NamedTuple):
    """What the N queries of a stack may attend to, and how far it is."""

    mask: Bool[Array, "B 1 N M"]
    distance: Int[Array, "#B N M"]  # `key - query` in tokens
    memory: Bool[Array, "B 1 N P"] | None = None  # mask of the encoder's output
    positions: Int[Array, "B N"] | None = None  # of the queries in the cache, if there is one


class Heads(nn.Module):
    """Attention with a bias in place of rotary positions, and without `1 / sqrt(K)`, which the initial weights hold."""

    config: DecoderConfig
    factor: float

    @nn.compact
    def __call__(self, x: Any, source: Any, mask: Any, bias: Any, cache: Any, positions: Any) -> tuple[Any, Any]:
        """`[B, N, D] -> [B, N, D]`, and the keys and values, as they are after this call.

        Made of `source` `[B, M, D]` and, with `positions`, put into the cache; without `source` they are there.
        """
        c, narrow = self.config, self.factor * self.config.width**-0.5
        query = Dense((c.width,), (c.heads, c.head_dim), narrow * c.head_dim**-0.5, name="query")(x)
        query = constrain(query, "batch", "length", "heads", "head_dim")
        if source is not None:
            made = keys_and_values(c, narrow, source)
            if positions is None:
                cache = {name: constrain(each, "batch", None, "heads", "head_dim") for name, each in made.items()}
            else:
                at = jnp.arange(x.shape[0])[:, None], positions
                cache = {name: cache[name].at[at].set(made[name].astype(cache[name].dtype)) for name in made}
        seen = attend(query, cache["key"].astype(x.dtype), cache["value"].astype(x.dtype), mask, 1, bias=bias)
        scale = self.factor * (c.heads * c.head_dim) ** -0.5
        return Dense((c.heads, c.head_dim), (c.width,), scale, name="out")(seen), cache


def keys_and_values(config: DecoderConfig, scale: float, source: Any) -> dict[str, Any]:
    """Keys and values `[B, M, H, K]`; called within a module, of which the two linear maps are children."""
    shape = (config.heads, config.head_dim)
    return {name: Dense((config.width,), shape, scale, name=name)(source) for name in ("key", "value")}


class CrossKeys(nn.Module):
    """The keys and values of the module "cross" of a `Block`, alone."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, memory: Any) -> dict[str, Any]:
        return keys_and_values(self.config, 0.0, memory)


class MemoryKeys(nn.Module):
    """A layer of the decoder as far as it depends on the encoder's output alone, with the parameters of `Block`."""

    config: DecoderConfig

    @nn.compact
    def __call__(self, carry: Any, memory: Any) -> tuple[Any, Any]:
        """`[B, M, D]` to keys and values `[B, M, H, K]`; the scan over layers wants a `carry`."""
        return carry, CrossKeys(self.config, name="cross")(memory)


class FeedForward(nn.Module):
    """`down(act(gate x) * up x)`, or `down(act(up x))` without a gate."""

    config: DecoderConfig
    encoder: Encoder

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        c, factor = self.config, self.encoder.init_factor
        wide = lambda name: Dense((c.width,), (c.mlp_width,), factor * c.width**-0.5, name=name)(x)
        act = ACTIVATIONS[c.activation]
        inner = act(wide("gate")) * wide("up") if self.encoder.gated else act(wide("up"))
        inner = constrain(inner, "batch", "length", "mlp")
        return Dense((c.mlp_width,), (c.width,), factor * c.mlp_width**-0.5, name="down")(inner)


class Block(nn.Module):
    """One layer: attention to its own stack, in the decoder attention to the encoder's output, and MLP."""

    config: DecoderConfig
    encoder: Encoder
    decodes: bool

    @nn.compact
    def __call__(self, x: Any, cache: Any, seen: Seen, bias: Any, memory: Any) -> tuple[Any, Any]:
        """The stream after this layer, and the cache of its own stack."""
        c, factor = self.config, self.encoder.init_factor
        norm = lambda name, x: RMSNorm(c.norm_eps, name=name)(x)
        own, crossed = (None, None) if cache is None else (cache["own"], cache["memory"])
        inner = norm("attention_norm", x)
        out, own = Heads(c, factor, name="attention")(inner, inner, seen.mask, bias, own, seen.positions)
        x = constrain(x + out, "batch", "length", "activation")
        if self.decodes:
            inner = norm("cross_norm", x)
            x = x + Heads(c, factor, name="cross")(inner, memory, seen.memory, None, crossed, None)[0]
            x = constrain(x, "batch", "length", "activation")
        x = x + FeedForward(c, self.encoder, name="mlp")(norm("mlp_norm", x))
        return constrain(x, "batch", "length", "activation"), None if cache is None else own


class Stack(nn.Module):
    """Encoder or decoder: scanned blocks that share one table of position biases, and the final norm."""

    config: DecoderConfig
    encoder: Encoder
    decodes: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"], seen: Seen, memory: Any = None, cache: Any = None) -> tuple[Any, Any]:
        """Final hidden states, and the cache of its own keys and values after these tokens."""
        c, e = self.config, self.encoder
        shape, scale = (e.buckets, c.heads), e.init_factor * c.width**-0.5
        table = self.param("position_bias", nn.initializers.normal(scale), shape)
        bias = position_bias(table, bucket_of(seen.distance, e.buckets, e.max_distance, not self.decodes))
        bias = constrain(bias, None if bias.shape[0] == 1 else "batch", "heads", "length", None)
        block = Block
        if c.remat in ("dots", "full"):
            policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if c.remat == "dots" else None
            block = nn.remat(Block, policy=policy, prevent_cse=False)
        layers = c.layers if self.decodes else e.layers
        scanned = over_layers(block, layers, (0, nn.broadcast, nn.broadcast, nn.broadcast))
        x, cache = scanned(c, e, self.decodes, name="layers")(x, cache, seen, bias, memory)
        return RMSNorm(c.norm_eps, name="final_norm")(x), cache


def over_layers(block: Any, layers: int, in_axes: Any) -> Any:
    """The block, scanned over layers whose parameters are stacked."""
    unroll = layers if layers <= UNROLL_LAYERS else 1
    axes: Any = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "in_axes": in_axes}
    return nn.scan(block, length=layers, unroll=unroll, **axes)


class EncoderDecoder(nn.Module):
    """Both stacks, for their initial parameters."""

    config: DecoderConfig
    encoder: Encoder

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], seen: Seen) -> Float[Array, "B T D"]:
        memory = Stack(self.config, self.encoder, False, name="encoder")(x, seen)[0]
        return Stack(self.config, self.encoder, True, name="decoder")(x, seen, memory)[0]


def axes_of(config: DecoderConfig) -> dict[str, Any]:
    """Axis names of every parameter; see `mtjax.model.language_model.axes_of`."""
    norm, into = {"scale": ("layers", "norm")}, {"kernel": ("layers", "embed", "heads", "head_dim")}
    heads = {"query": into, "key": into, "value": into, "out": {"kernel": ("layers", "heads", "head_dim", "embed")}}
    wide = {"kernel": ("layers", "embed", "mlp")}
    mlp = {"up": wide, "down": {"kernel": ("layers", "mlp", "embed")}}
    mlp |= {"gate": wide} if config.encoder is not None and config.encoder.gated else {}
    layers = {"attention": heads, "attention_norm": norm, "mlp": mlp, "mlp_norm": norm}
    stack = lambda layers: {"layers": layers, "final_norm": {"scale": ("norm",)}, "position_bias": (None, "heads")}
    axes = {"embed": {"embedding": ("vocab", "embed")}, "encoder": stack(layers)}
    axes["decoder"] = stack(layers | {"cross": heads, "cross_norm": norm})
    return axes if config.tied else axes | {"head": {"kernel": ("embed", "vocab")}}


def make_encoder_decoder(config: DecoderConfig) -> LanguageModel:
    """The functions of an encoder-decoder, whose `config.encoder` is set."""
    assert config.encoder is not None
    e, dtype = config.encoder, jnp.dtype(config.dtype)
    encoder, decoder = Stack(config, e, False), Stack(config, e, True)

    def init(key: PRNGKeyArray) -> Params:
        body, table, head = jax.random.split(key, 3)
        one = jnp.ones((1, 1, 1, 1), bool)
        seen = Seen(one, jnp.zeros((1, 1, 1), jnp.int32), one)
        params = EncoderDecoder(config, e).init(body, jnp.zeros((1, 1, config.width)), seen)["params"]
        shape, factor = (config.vocab_size, config.width), e.init_factor
        params = {"embed": {"embedding": factor * jax.random.normal(table, shape)}, **params}
        if not config.tied:
            params["head"] = {"kernel": factor * config.width**-0.5 * jax.random.normal(head, shape[::-1])}
        return params

    def embedded(params: Params, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        table = constrain(params["embed"]["embedding"].astype(dtype), "vocab", "activation")
        return constrain(table[tokens], "batch", "length", "activation")

    def encode(params: Params, tokens: Any, read: Any, same: Any, distance: Any) -> Any:
        seen = Seen(same & read[:, None, None, :], distance)
        return encoder.apply({"params": params["encoder"]}, embedded(params, tokens), seen)[0]

    def hidden(params: Params, tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        roles = roles_of(tokens, segments, e.end_id)
        same = (segments[:, :, None] == segments[:, None, :])[:, None]
        place = np.arange(tokens.shape[1], dtype=np.int32)
        distance = jnp.asarray(place[None, None, :] - place[None, :, None])
        memory = encode(params, tokens, roles.read, same, distance)
        shown = (roles.starts | roles.written)[:, None, None, :]
        mask = packed_mask(segments, jnp.int32(EVERYTHING)) & shown
        seen = Seen(mask, distance, same & roles.read[:, None, None, :])
        x = embedded(params, jnp.where(roles.starts, e.start_id, tokens))
        return decoder.apply({"params": params["decoder"]}, x, seen, memory)[0]

    def logits(params: Params, hidden: Float[Array, "*N D"]) -> Float[Array, "*N V"]:
        kernel = params["embed"]["embedding"].T if config.tied else params["head"]["kernel"]
        hidden = hidden.astype(dtype) * jnp.asarray(config.width**-0.5 if e.scale_outputs else 1, dtype)
        return jnp.matmul(hidden, kernel.astype(dtype), preferred_element_type=jnp.float32)

    def init_cache(batch_size: int, length: int) -> dict[str, Any]:
        shape = (config.layers, batch_size, length, config.heads, config.head_dim)
        pair = lambda: {"key": jnp.zeros(shape, dtype), "value": jnp.zeros(shape, dtype)}
        return {"tokens": jnp.full((batch_size, length), -1, jnp.int32), "own": pair(), "memory": pair()}

    def decode(
        params: Params, cache: Any, tokens: Int[Array, "B N"], positions: Int[Array, "B N"]
    ) -> tuple[Float[Array, "B N D"], Any]:
        kept = cache["tokens"].at[jnp.arange(tokens.shape[0])[:, None], positions].set(tokens)
        slots = jnp.arange(kept.shape[1])
        ends = (kept == e.end_id) & (slots <= jnp.max(positions, axis=1, keepdims=True))
        end = jnp.where(jnp.any(ends, axis=1), jnp.argmax(ends, axis=1), kept.shape[1])[:, None]
        starts = positions == end
        new = jnp.any(starts, axis=1)  # rows whose prompt is complete with these tokens: it is read now
        read = slots <= jnp.where(end < kept.shape[1], end, -1)

        def remember(old: Any) -> Any:
            together = jnp.ones((*kept.shape, kept.shape[1]), bool)[:, None]
            distance = jnp.asarray(slots[None, None, :] - slots[None, :, None], jnp.int32)
            memory = encode(params, jnp.maximum(kept, 0), read, together, distance)
            keys = over_layers(MemoryKeys, config.layers, nn.broadcast)(config)
            made = keys.apply({"params": params["decoder"]["layers"]}, None, memory)[1]
            choose = lambda made, old: jnp.where(new[None, :, None, None, None], made.astype(old.dtype), old)
            return jax.tree.map(choose, made, old)

        memory = jax.lax.cond(jnp.any(new), remember, lambda old: old, cache["memory"])
        to_key = slots[None, None, :] - positions[:, :, None]
        mask = (to_key <= 0) & (slots >= end)[:, None, :]
        over = jnp.broadcast_to(read[:, None, :], mask.shape)
        seen = Seen(mask[:, None], to_key, over[:, None], positions)
        x = embedded(params, jnp.where(starts, e.start_id, tokens))
        held = {"own": cache["own"], "memory": memory}
        x, own = decoder.apply({"params": params["decoder"]}, x, seen, None, held)
        return x, {"tokens": kept, "own": own, "memory": memory}

    def predicted(tokens: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Bool[Array, "B T"]:
        return roles_of(tokens, segments, e.end_id).written

    return LanguageModel(config, init, hidden, logits, init_cache, decode, axes_of(config), predicted=predicted)
