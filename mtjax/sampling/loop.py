"""Batched sampling with a key/value cache: one compiled prefill and one compiled loop for a fixed shape of rows."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mtjax.errors import InputError
from mtjax.sampling.config import SamplingConfig
from mtjax.types import LanguageModel, Params

STOP_EVERY = 16  # with stop texts, the host decodes the text after every 16 tokens


class Samples(NamedTuple):
    """Drawn tokens and log-probabilities; M is `max_new_tokens`, N the rows (or `N S`: prompts, samples of each)."""

    tokens: Int[Array, "*N M"]  # ids, EOS token included; the pad id from each row's length on
    lengths: Int[Array, "*N"]  # tokens drawn and not taken back, 0 to M
    logprob: Float[Array, "*N M"]
    """The model's own log-probability (nats) of each token at temperature 1, equal to `Policy.scores`; 0 after the
    end."""
    proposal_logprob: Float[Array, "*N M"]  # under the distribution it was drawn from; 0 under greedy decoding
    finished: Bool[Array, "*N"]  # ended by an end token or a stop text, not by `max_new_tokens`


class State(NamedTuple):
    """The drawn tokens, and what the next token depends on."""

    step: Int[Array, ""]
    cache: Any
    hidden: Float[Array, "N D"]
    decoder: Any
    drawn: Samples
    asked: Int[Array, " N"]  # the last token of each prompt


def row_keys(seed: int, problems: Sequence[int] | np.ndarray, samples: Sequence[int] | np.ndarray) -> Key[Array, " N"]:
    """One key per row, `fold_in(fold_in(key(seed), problem), sample)`: a row's draw does not depend on the others."""
    base = jax.random.key(seed)
    fold = jax.vmap(lambda problem, sample: jax.random.fold_in(jax.random.fold_in(base, problem), sample))
    return fold(jnp.asarray(problems, jnp.uint32), jnp.asarray(samples, jnp.uint32))


@functools.lru_cache(maxsize=16)
def _compiled(functions: tuple[Callable, ...], config: SamplingConfig, end_ids: tuple[int, ...], pad_id: int) -> tuple:
    """Prefill and loop, compiled once per shape and cached by the model's functions, so that samplers share them."""
    logits_of, init_cache, decode = functions
    decoder = config.decoder(config.temperature, config.top_k, config.top_p)
    ends, most = jnp.asarray(end_ids, jnp.int32), config.longest

    @functools.partial(jax.jit, static_argnums=3)
    def start(params: Params, prompts: Array, lengths: Array, samples: int) -> State:
        """Prefill the prompts once, and copy the cache for every sample."""
        count, longest = prompts.shape
        positions = jnp.broadcast_to(jnp.arange(longest), prompts.shape)
        hidden, cache = decode(params, init_cache(count, longest + most), prompts, positions)
        last = jnp.maximum(lengths - 1, 0)[:, None]
        hidden = jnp.take_along_axis(hidden, last[..., None], axis=1)[:, 0]
        asked = jnp.repeat(jnp.take_along_axis(prompts, last, axis=1)[:, 0], samples)
        axes = _row_axes(init_cache, longest + most)
        cache = jax.tree.map(lambda x, axis: jnp.repeat(x, samples, axis), cache, axes)
        empty = lambda fill, dtype: jnp.full((count * samples, most), fill, dtype)
        rows = jnp.zeros(count * samples, jnp.int32)
        # A prompt of length 0 only fills the shape; its rows are finished from the start.
        done = jnp.repeat(lengths == 0, samples)
        drawn = Samples(empty(pad_id, jnp.int32), rows, empty(0, jnp.float32), empty(0, jnp.float32), done)
        vocabulary = jax.eval_shape(logits_of, params, hidden).shape[-1]
        state = decoder.init(count * samples, vocabulary)
        return State(jnp.int32(0), cache, jnp.repeat(hidden, samples, 0), state, drawn, asked)

    @functools.partial(jax.jit, donate_argnums=4)
    def advance(params: Params, lengths: Array, keys: Key[Array, " N"], until: Array, state: State) -> State:
        """Draw until each row has `until` tokens or has ended."""

        def body(state: State) -> State:
            drawn, step = state.drawn, state.step
            logits = logits_of(params, state.hidden).astype(jnp.float32)
            log_probs, decoding = decoder.step(logits, state.decoder)
            if config.temperature == 0:
                token = jnp.argmax(log_probs, axis=-1).astype(jnp.int32)
            else:
                at_step = jax.vmap(jax.random.fold_in, (0, None))(keys, step)
                token = jax.vmap(jax.random.categorical)(at_step, log_probs).astype(jnp.int32)
            drawn_from = jnp.take_along_axis(log_probs, token[:, None], axis=1)[:, 0]
            own = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), token[:, None], axis=1)[:, 0]
            live, back = ~drawn.finished, None if decoder.erases is None else decoder.erases(token)
            if back is None:
                put = lambda array, value, fill: array.at[:, step].set(jnp.where(live, value, fill))
                size = drawn.lengths + live
            else:  # an answer is a stack; the token on its top, or of the prompt, is decoded again where it was
                put, size = _stack(drawn.lengths, live, back, most)
            drawn = Samples(
                put(drawn.tokens, token, pad_id),
                size,
                put(drawn.logprob, own, 0.0),
                put(drawn.proposal_logprob, drawn_from, 0.0),
                drawn.finished | jnp.isin(token, ends),
            )
            taken, positions = token, lengths + step
            if back is not None:
                top = jnp.take_along_axis(drawn.tokens, jnp.maximum(size - 1, 0)[:, None], axis=1)[:, 0]
                taken, positions = jnp.where(size > 0, top, state.asked), jnp.maximum(lengths + size - 1, 0)
            hidden, cache = decode(params, state.cache, taken[:, None], positions[:, None])
            return State(step + 1, cache, hidden[:, 0], decoder.observe(token, decoding), drawn, state.asked)

        return jax.lax.while_loop(lambda s: (s.step < until) & ~jnp.all(s.drawn.finished), body, state)

    return start, advance


def _stack(size: Array, live: Array, back: Array, most: int) -> tuple[Callable[..., Array], Array]:
    """How an array by place of the answer changes where a token is put on top of `size` others or takes one back.

    Returns `(array, value, fill) -> array` and the new sizes.
    """
    place = jnp.where(live & (size >= back), size - back, most)  # nothing is written behind the last place
    rows = jnp.arange(size.shape[0])
    put = lambda array, value, fill: array.at[rows, place].set(jnp.where(back, fill, value), mode="drop")
    return put, jnp.where(live, jnp.maximum(jnp.where(back, size - 1, size + 1), 0), size)


def _row_axes(init_cache: Callable, length: int) -> Any:
    """The row axis of each cache array: the one that grows with the number of rows."""
    one, two = (jax.eval_shape(functools.partial(init_cache, rows, length)) for rows in (1, 2))
    differ = lambda a, b: next(axis for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)) if m != n)
    return jax.tree.map(differ, one, two)


def make_sampler(
    model: LanguageModel,
    config: SamplingConfig,
    *,
    end_ids: Sequence[int],
    pad_id: int = 0,
    decode: Callable[[Sequence[int]], str] | None = None,
) -> Callable[..., Samples]:
    """A sampler `sample(params, prompts [N, P], lengths [N], keys) -> Samples`.

    Prompts are padded on the right; `keys` is `[N]` for one answer each or `[N, S]` for S answers that share the
    prefill, and the leading axes of the results have its shape. A row depends only on its prompt, its key and the shape
    `(N, S, P)`. Samplers of the same model and settings share one compilation per shape. A row of length 0 stays empty.

    `config.samples` is not used. `end_ids` end an answer, `pad_id` fills the rest of a row. Stop texts need `decode`
    (ids to text). Raises InputError for stop texts without it, and if `P + max_new_tokens` exceeds the model's
    `max_length`.
    """
    if config.stop and decode is None:
        raise InputError(f"stop={config.stop}: stop texts need `decode`; pass the function from ids to text")
    if config.stop and config.decoder(config.temperature, config.top_k, config.top_p).erases is not None:
        raise InputError(
            f"stop={config.stop}: with a decoder that takes tokens back, a stop text may not stay; leave it out"
        )
    start, advance = _compiled(
        (model.logits, model.init_cache, model.decode),
        dataclasses.replace(config, samples=1, stop=()),
        tuple(int(i) for i in end_ids),
        pad_id,
    )

    def sample(params: Params, prompts: Any, lengths: Any, keys: Key[Array, "*R"]) -> Samples:
        limit = getattr(model.config, "max_length", None)
        if limit is not None and prompts.shape[1] + config.longest > limit:
            raise InputError(
                f"a prompt of {prompts.shape[1]} tokens (padded) and max_new_tokens={config.longest} "
                f"pass the model's {limit}: shorten the prompt, or lower max_new_tokens"
            )
        lengths = jnp.asarray(lengths, jnp.int32)
        samples = 1 if keys.ndim == 1 else keys.shape[1]
        state = start(params, jnp.asarray(prompts, jnp.int32), lengths, samples)
        ran = functools.partial(advance, params, jnp.repeat(lengths, samples), keys.reshape(-1))
        if config.stop and decode is not None:
            drawn = _stopping(ran, state, config, decode, pad_id)
        else:
            drawn = ran(jnp.int32(config.longest), state).drawn
        drawn = drawn._replace(finished=drawn.finished & (drawn.lengths > 0))
        return jax.tree.map(lambda x: x.reshape(*keys.shape, *x.shape[1:]), drawn)

    return sample


def _stopping(ran: Callable, state: State, config: SamplingConfig, decode: Callable, pad_id: int) -> Samples:
    """Run in segments; end each row at the first token that completes a stop text, and drop what it drew after."""
    seen = 0
    for until in range(STOP_EVERY, config.longest + STOP_EVERY, STOP_EVERY):
        state = ran(jnp.int32(min(until, config.longest)), state)
        tokens, lengths, logprob, drawn_from, finished = (np.array(x) for x in state.drawn)
        for row in np.flatnonzero(lengths > seen):
            keep = cut_at_stop(tokens[row, : lengths[row]].tolist(), config.stop, decode)
            if keep is not None:
                finished[row], lengths[row] = True, keep
                tokens[row, keep:], logprob[row, keep:], drawn_from[row, keep:] = pad_id, 0, 0
        drawn = Samples(*(jnp.asarray(x) for x in (tokens, lengths, logprob, drawn_from, finished)))
        state, seen = state._replace(drawn=drawn), until
        if finished.all():
            break
    return state.drawn


def cut_at_stop(ids: Sequence[int], stop: Sequence[str], decode: Callable[[Sequence[int]], str]) -> int | None:
    """Number of tokens until the text first holds one of the stop texts; None if it never does."""
    holds = lambda count: any(text in decode(ids[:count]) for text in stop)
    if not stop or not holds(len(ids)):
        return None
    return next(count for count in range(1, len(ids) + 1) if holds(count))
