"""The compiled programs of sampling: prefill of prompts in chunks, and a decode loop over slots."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import first_of_largest
from mtjax.types import LanguageModel, Params


class Drawn(NamedTuple):
    """What slots have drawn so far; M is `max_new_tokens`, S the slots."""

    tokens: Int[Array, "S M"]  # ids, EOS token included; the pad id from each row's length on
    lengths: Int[Array, " S"]  # tokens drawn and not taken back, 0 to M
    logprob: Float[Array, "S M"]
    """The model's own log-probability (nats) of each token at temperature 1, equal to `Policy.scores`; 0 after the
    end."""
    proposal_logprob: Float[Array, "S M"]  # under the distribution it was drawn from; 0 under greedy decoding
    finished: Bool[Array, " S"]  # ended by an end token, not by `max_new_tokens`


class Slots(NamedTuple):
    """The rows that are decoded side by side, each with an answer of its own age."""

    cache: Any
    hidden: Float[Array, "S D"]  # the state that predicts the next token
    position: Int[Array, " S"]  # of the next token
    live: Bool[Array, " S"]
    asked: Int[Array, " S"]  # the last token of the prompt
    draws: Int[Array, " S"]  # tokens drawn, those that took one back included; at most M
    problem: Int[Array, " S"]  # with `sample` what the key of a slot is folded from
    sample: Int[Array, " S"]
    decoder: Any
    fresh: Any  # the state of the decoder for one row that begins
    drawn: Drawn


class Programs(NamedTuple):
    """Functions, each compiled once for each shape; samplers of one model and settings share them."""

    start: Callable[[Params, int, int, int, int], tuple[Slots, Any]]
    """(params, slots, length, rows, longest) -> slots without an answer, and an empty cache for rows of prompts"""
    prefill: Callable[..., Any]  # (params, cache, hidden, tokens, positions, last) -> (cache, hidden)
    insert: Callable[..., Slots]  # (slots, cache, hidden, orders, count) -> slots with prompts in them
    grow: Callable[[Slots, int], Slots]  # (slots, length) -> slots with room for more positions
    advance: Callable[..., Slots]  # (params, slots, key, killed, steps, enough) -> slots, some tokens later


def programs(model: LanguageModel, config: SamplingConfig, end_ids: Sequence[int], pad_id: int) -> Programs:
    """The programs of a model for these settings; `samples` and `stop` are not of their making."""
    functions = (model.logits, model.init_cache, model.decode)
    adapted = getattr(model.config, "adapter", None) is not None  # an adapter may need the matrices as they are
    dtype = "float32" if adapted else getattr(model.config, "dtype", "float32")
    plain = dataclasses.replace(config, samples=1, stop=())
    return _programs(functions, dtype, plain, tuple(int(i) for i in end_ids), pad_id)


@functools.lru_cache(maxsize=16)
def _programs(
    functions: tuple[Callable, ...], dtype: str, config: SamplingConfig, end_ids: tuple[int, ...], pad_id: int
) -> Programs:
    logits_of, init_cache, decode = functions
    decoder = config.decoder(config.temperature, config.top_k, config.top_p)
    ends, most, combine = jnp.asarray(end_ids, jnp.int32), config.longest, decoder.combine
    # With two prompts for an answer, the second half of the slots reads the second ones and draws what the first does.
    twice = lambda values: values if combine is None else jnp.concatenate([values, values])
    axes = _row_axes(init_cache)

    @functools.partial(jax.jit, donate_argnums=(1, 2))
    def prefill(params: Params, cache: Any, hidden: Array, tokens: Array, positions: Array, last: Array) -> Any:
        """A chunk of each prompt; where `last` is not negative, it is the place of the prompt's last token."""
        made, cache = decode(_narrowed(params, dtype), cache, tokens, positions)
        ended = jnp.take_along_axis(made, jnp.maximum(last, 0)[:, None, None], axis=1)[:, 0]
        return cache, jnp.where(last[:, None] >= 0, ended, hidden)

    @functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
    def start(params: Params, count: int, length: int, rows: int, longest: int) -> tuple[Slots, Any]:
        hidden, _ = jax.eval_shape(
            decode, params, jax.eval_shape(lambda: init_cache(count, length)), *[jnp.zeros((count, 1), jnp.int32)] * 2
        )
        vocabulary = jax.eval_shape(logits_of, params, hidden).shape[-1]
        empty = lambda fill, dtype: jnp.full((count, most), fill, dtype)
        numbers = jnp.zeros(count, jnp.int32)
        none = jnp.zeros(count, bool)
        drawn = Drawn(empty(pad_id, jnp.int32), numbers, empty(0, jnp.float32), empty(0, jnp.float32), none)
        begun, fresh = (decoder.init(own, vocabulary) for own in (count if combine is None else count // 2, 1))
        hidden = jnp.zeros((count, hidden.shape[-1]), hidden.dtype)
        asked = draws = problem = sample = numbers
        cache = init_cache(count, length)
        slots = Slots(cache, hidden, numbers, none, asked, draws, problem, sample, begun, fresh, drawn)
        return slots, init_cache(rows, longest)

    @functools.partial(jax.jit, donate_argnums=0)
    def insert(slots: Slots, cache: Any, hidden: Array, orders: Array, count: Array) -> Slots:
        """Put prompts into slots; an order is (slot, row of the prompt, its length, last token, problem, sample)."""
        cut = lambda x, like, axis: x[
            tuple(slice(None) if one == axis else slice(size) for one, size in enumerate(like.shape))
        ]

        def put(number: Array, slots: Slots) -> Slots:
            slot, row, length, asked, problem, sample = orders[number]
            copied = jax.tree.map(
                lambda mine, theirs, axis: jax.lax.dynamic_update_slice_in_dim(
                    mine, jax.lax.dynamic_slice_in_dim(cut(theirs, mine, axis), row, 1, axis), slot, axis
                ),
                slots.cache, cache, axes,
            )  # fmt: skip
            drawn = slots.drawn
            cleared = Drawn(
                drawn.tokens.at[slot].set(pad_id), drawn.lengths.at[slot].set(0), drawn.logprob.at[slot].set(0.0),
                drawn.proposal_logprob.at[slot].set(0.0), drawn.finished.at[slot].set(False),
            )  # fmt: skip
            return Slots(
                copied, slots.hidden.at[slot].set(hidden[row]), slots.position.at[slot].set(length),
                slots.live.at[slot].set(True), slots.asked.at[slot].set(asked), slots.draws.at[slot].set(0),
                slots.problem.at[slot].set(problem), slots.sample.at[slot].set(sample),
                jax.tree.map(lambda every, one: every.at[slot].set(one[0]), slots.decoder, slots.fresh), slots.fresh,
                cleared,
            )  # fmt: skip

        return jax.lax.fori_loop(0, count, put, slots)

    @functools.partial(jax.jit, static_argnums=1)
    def grow(slots: Slots, length: int) -> Slots:
        wide = init_cache(slots.live.shape[0], length)
        put = lambda wide, narrow: jax.lax.dynamic_update_slice(wide, narrow, (0,) * wide.ndim)
        return slots._replace(cache=jax.tree.map(put, wide, slots.cache))

    @functools.partial(jax.jit, donate_argnums=1)
    def advance(params: Params, slots: Slots, key: Key[Array, ""], killed: Array, steps: Array, enough: Array) -> Slots:
        """Draw until `steps` tokens are drawn, `enough` rows have ended, or none is left; `killed` rows end now."""
        params = _narrowed(params, dtype)
        slots = slots._replace(live=slots.live & ~killed)
        begun = jnp.sum(slots.live)
        keys = _keys(key, slots.problem, slots.sample)

        def body(carry: tuple[Array, Slots]) -> tuple[Array, Slots]:
            done, slots = carry
            drawn, live = slots.drawn, slots.live
            logits = logits_of(params, slots.hidden).astype(jnp.float32)
            if combine is None:
                proposed = logits
            else:
                logits, others = jnp.split(logits, 2)
                proposed = combine(logits, others)
            log_probs, decoding = decoder.step(proposed, slots.decoder)
            if config.temperature == 0:
                first = first_of_largest(log_probs)
            else:
                noise = jax.vmap(jax.random.fold_in)(keys, slots.draws)
                first = draw_token(noise[: log_probs.shape[0]], log_probs)
            at = lambda values: jnp.take_along_axis(values, first[:, None], axis=1)[:, 0]
            own = twice(at(logits) - jax.nn.logsumexp(logits, axis=-1))
            token = twice(first)
            back = None if decoder.erases is None else decoder.erases(token)
            put, size = _stack(drawn.lengths, live, back, most)
            ended = jnp.isin(token, ends)
            drawn = Drawn(
                put(drawn.tokens, token, pad_id), size, put(drawn.logprob, own, 0.0),
                put(drawn.proposal_logprob, twice(at(log_probs)), 0.0), drawn.finished | (live & ended),
            )  # fmt: skip
            # A row that has ended writes to its first position, which nothing reads.
            read, position, draws = token, jnp.where(live, slots.position, 0), slots.draws + live
            if back is not None:  # an answer is a stack; the token on its top, or of the prompt, is read again
                top = jnp.take_along_axis(drawn.tokens, jnp.maximum(size - 1, 0)[:, None], axis=1)[:, 0]
                read = jnp.where(back, jnp.where(size > 0, top, slots.asked), token)
                position = jnp.where(live & back, slots.position - 1 - (slots.drawn.lengths > 0), position)
            hidden, cache = decode(params, slots.cache, read[:, None], position[:, None])
            live = live & ~ended & (draws < most)
            return done + 1, Slots(
                cache, hidden[:, 0], position + 1, live, slots.asked, draws, slots.problem, slots.sample,
                decoder.observe(first, decoding), slots.fresh, drawn,
            )  # fmt: skip

        def more(carry: tuple[Array, Slots]) -> Array:
            done, slots = carry
            left = jnp.sum(slots.live)
            return (done < steps) & (left > 0) & (begun - left < enough)

        return jax.lax.while_loop(more, body, (jnp.int32(0), slots))[1]

    return Programs(start, prefill, insert, grow, advance)


def _stack(size: Array, live: Array, back: Array | None, most: int) -> tuple[Callable[..., Array], Array]:
    """How an array by place of the answer changes where a token is put on top of `size` others or takes one back.

    Returns `(array, value, fill) -> array` and the new sizes; without `back`, no token takes one back.
    """
    rows, back = jnp.arange(size.shape[0]), jnp.zeros_like(live) if back is None else back
    place = jnp.where(live & (size >= back), size - back, most)  # nothing is written behind the last place
    put = lambda array, value, fill: array.at[rows, place].set(jnp.where(back, fill, value), mode="drop")
    return put, jnp.where(live, jnp.maximum(jnp.where(back, size - 1, size + 1), 0), size)


def draw_token(keys: Key[Array, " S"], log_probs: Float[Array, "S V"]) -> Int[Array, " S"]:
    """A token of each row by its key, with the probabilities `exp(log_probs)`.

    Two uniform numbers: the first chooses a block of tokens by the sums of their probabilities, the second a token of
    the block. That reads the vocabulary once and needs no noise for each of its tokens.
    """
    rows, size = log_probs.shape
    width = 1 << max(size - 1, 1).bit_length() // 2
    probability = jnp.exp(jnp.pad(log_probs, ((0, 0), (0, -size % width)), constant_values=-jnp.inf))
    blocks = probability.reshape(rows, -1, width)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)
    block = _place(jnp.sum(blocks, axis=-1), uniform[:, 0])
    inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    return (block * width + _place(inside, uniform[:, 1])).astype(jnp.int32)


def _place(weights: Float[Array, "S N"], uniform: Float[Array, " S"]) -> Int[Array, " S"]:
    """The first place at which the running sum of the weights exceeds `uniform` of their sum; its weight is not 0."""
    upto = jnp.cumsum(weights, axis=-1)
    above = upto > uniform[:, None] * upto[:, -1:]
    found = jnp.argmax(above & (weights > 0), axis=-1)
    return jnp.where(jnp.any(above & (weights > 0), axis=-1), found, jnp.argmax(weights, axis=-1))


def _keys(base: Key[Array, ""], problem: Array, sample: Array) -> Key[Array, " S"]:
    """`fold_in(fold_in(base, problem), sample)` for every slot: no slot's draw depends on the others."""
    return jax.vmap(lambda problem, sample: jax.random.fold_in(jax.random.fold_in(base, problem), sample))(
        problem.astype(jnp.uint32), sample.astype(jnp.uint32)
    )


def _narrowed(params: Params, dtype: str) -> Params:
    """Matrices in the type that products are computed in, so that a loop reads them in that type."""
    if dtype == "float32":
        return params

    def cast(path: Any, leaf: Array) -> Array:
        name = getattr(path[-1], "key", "")
        return leaf.astype(dtype) if name in ("kernel", "embedding") and leaf.dtype == jnp.float32 else leaf

    return jax.tree_util.tree_map_with_path(cast, params)


def _row_axes(init_cache: Callable) -> Any:
    """The row axis of each cache array: the one that grows with the number of rows."""
    one, two = (jax.eval_shape(functools.partial(init_cache, rows, 8)) for rows in (1, 2))
    differ = lambda a, b: next(axis for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n)
    return jax.tree.map(differ, one, two)
