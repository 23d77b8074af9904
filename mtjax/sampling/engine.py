"""The sampling engine: any number of prompts and samples over a fixed number of slots, refilled as answers end.

A prompt is read once, in chunks of one or two sizes, whatever its length; its keys and values are copied into a slot
for each of its samples. One compiled loop draws a token for every slot at a time. When some slots have ended, the loop
gives control back, the answers are taken out and the next prompts put in, without a new program. See docs/sampling.md.
"""

import collections
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.distributed.placement import read_whole
from mtjax.distributed.sharding import mesh_in_force, platform_of, ways
from mtjax.errors import InputError
from mtjax.model.cached_attention import apart
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.loop import Drawn, Slots, programs
from mtjax.types import LanguageModel, Params

CHUNKS = {"cpu": (64, 128)}
"""Sizes of the chunks of a prompt, ascending: all are of the last one, and the rest takes the first that holds it."""
LARGE_CHUNKS = (256,)  # on accelerators, whose products are larger
STEPS = 32  # most tokens of a slot between two looks of the host
STOP_STEPS = 16  # the same with stop texts, which the host looks for
REFILL = 16  # one in so many slots has ended before the loop gives control back to refill them


class Request(NamedTuple):
    """A prompt and the samples that are asked of it; `(seed, problem, sample)` determines what is drawn."""

    ids: Sequence[int]
    problem: int  # the prompt's number in the key
    samples: Sequence[int] = (0,)  # numbers of its samples
    against: Sequence[int] = ()  # the second prompt of a decoder that reads two, such as `contrastive`


class Answer(NamedTuple):
    """What was drawn for one sample of a request."""

    request: int  # place of the request
    sample: int  # place of the sample among those of the request
    tokens: tuple[int, ...]  # the end token or those of the stop text included
    logprobs: tuple[float, ...]  # of the model itself at temperature 1
    proposal_logprobs: tuple[float, ...]  # of the distribution that was drawn from
    finished: bool  # ended by an end token or a stop text


class _Waiting:
    """Prompts in the order in which they are read, and what the rows of the scratch cache hold.

    With `twice`, the second half of the rows reads the second prompts.
    """

    def __init__(self, requests: Sequence[Request], rows: int, chunk: int, twice: bool):
        # Prompts of several chunks with a common beginning follow each other, so that it is read once.
        whole = lambda ids: tuple(ids[: (len(ids) - 1) // chunk * chunk])
        order = sorted(range(len(requests)), key=lambda number: whole(requests[number].ids))
        self.requests, self.left = requests, collections.deque(number for number in order if requests[number].samples)
        self.rows, self.twice = rows, twice
        self.read: list[tuple[int, ...]] = [()] * (rows * (1 + twice))  # the prompt whose keys and values a row holds
        self.pending: list[tuple[int, int, int]] = []  # (row, request, place of the sample) that wait for a slot

    def __bool__(self) -> bool:
        return bool(self.left or self.pending)


def make_engine(
    model: LanguageModel,
    config: SamplingConfig,
    *,
    slots: int,
    end_ids: Sequence[int],
    pad_id: int = 0,
    decode: Callable[[Sequence[int]], str] | None = None,
) -> Callable[[Params, Sequence[Request], int], Iterator[Answer]]:
    """The engine `draw(params, requests, seed) -> answers`, which gives each answer as soon as it is complete.

    An answer depends on its prompt, on `(seed, problem, sample)`, on the settings and on `slots`; not on the other
    requests, their order or number. `config.samples` is not used.

    Args:
        slots: answers drawn side by side; on a mesh rounded up to what its rows divide into.
        end_ids: tokens that end an answer.
        decode: from ids to text; stop texts need it.

    Raises:
        InputError: stop texts without `decode`; a prompt that is empty or leaves no room for an answer; a decoder that
            reads two prompts and requests with one, or the other way round.
    """
    if config.stop and decode is None:
        raise InputError(f"stop={config.stop}: stop texts need `decode`; pass the function from ids to text")
    decoder = config.decoder(config.temperature, config.top_k, config.top_p)
    twice = decoder.combine is not None
    if config.stop and decoder.erases is not None:
        raise InputError(
            f"stop={config.stop}: with a decoder that takes tokens back, a stop text may not stay; leave it out"
        )
    ran = programs(model, config, end_ids, pad_id)

    def draw(params: Params, requests: Sequence[Request], seed: int) -> Iterator[Answer]:
        _check_seconds(requests, twice)
        needed = _needed(model, requests, config.longest)
        mesh = mesh_in_force()
        rows = ways(mesh, "batch")
        count = -(-slots // rows) * rows
        small, large = cache_lengths(model, needed)
        chunks = CHUNKS.get(platform_of(mesh), LARGE_CHUNKS)
        waiting, key = _Waiting(requests, rows, chunks[-1], twice), jax.random.key(seed)
        together = 1 + twice
        free: list[int] = list(range(count))[::-1]
        owners: dict[int, tuple[int, int, int]] = {}  # of a slot: request, place of the sample, tokens drawn
        params = apart(params)
        state, scratch = ran.start(params, together * count, small, together * rows, large)
        hidden = np.zeros((together * rows, state.hidden.shape[1]), state.hidden.dtype)
        killed = np.zeros(count, bool)
        length = small
        while waiting or owners:
            while free and waiting:
                if not waiting.pending:
                    scratch, hidden = _read(ran.prefill, params, scratch, hidden, waiting, chunks)
                longest = max(_length(requests[owner]) for _, owner, _ in waiting.pending)
                if longest + 1 > length:
                    state, length = ran.grow(state, large), large
                state = _insert(ran.insert, state, scratch, hidden, waiting, free, owners, killed)
            steps = STOP_STEPS if config.stop else STEPS
            furthest = max(_length(requests[one]) + drawn for one, _, drawn in owners.values())
            if furthest + steps > length and length < large:
                state, length = ran.grow(state, large), large
            enough = together * (max(count // REFILL, 1) if waiting else count + 1)
            ended = np.tile(killed, together)
            state = ran.advance(params, state, key, ended, np.int32(steps), np.int32(enough))
            live, drawn = read_whole((state.live, state.drawn))
            killed = np.zeros(count, bool)
            for slot, (request, place, before) in list(owners.items()):
                answer = _answer(drawn, slot, request, place)
                keep = None
                if config.stop and decode is not None and len(answer.tokens) > before:
                    keep = cut_at_stop(answer.tokens, config.stop, decode)
                owners[slot] = request, place, len(answer.tokens)
                if keep is None and live[slot]:
                    continue
                if keep is not None:
                    parts = (answer.tokens[:keep], answer.logprobs[:keep], answer.proposal_logprobs[:keep])
                    answer = Answer(request, place, *parts, True)
                killed[slot] = live[slot]
                del owners[slot]
                free.append(slot)
                yield answer

    return draw


def cache_lengths(model: LanguageModel, needed: int) -> tuple[int, int]:
    """Positions of a cache at first and at most, for rows of up to `needed`: few different ones, so few programs.

    At most: `needed`, rounded up to 64 or 96 times a power of two where the model has room. At first: a fourth of it,
    at least 128.
    """
    powers = (base << power for power in range(32) for base in (64, 96))
    large = next(size for size in powers if size >= needed)
    limit = getattr(model.config, "max_length", None)
    if limit is not None:
        large = max(needed, min(large, limit))
    try:
        jax.eval_shape(functools.partial(model.init_cache, 1, large))
    except InputError:  # rotary scalings that cannot go so far with a cache
        large = needed
    return (large // 4, large) if large % 256 == 0 and large >= 512 else (large, large)


def _length(request: Request) -> int:
    return max(len(request.ids), len(request.against))


def _check_seconds(requests: Sequence[Request], twice: bool) -> None:
    """InputError unless all requests have as many prompts as the decoder reads."""
    if twice and not all(request.against for request in requests):
        raise InputError(
            "decoder:contrastive reads two prompts for each answer, and here is one: generate, mine, evaluate and "
            "rounds give both for a task with prefixes of right and wrong answers; choose another decoder"
        )
    if not twice and any(request.against for request in requests):
        raise InputError("a request has a second prompt, which the decoder does not read: use decoder:contrastive")


def _needed(model: LanguageModel, requests: Sequence[Request], new: int) -> int:
    """Positions of the longest prompt and its answer; InputError beyond the model's length, or for an empty prompt."""
    limit = getattr(model.config, "max_length", None)
    longest = max(map(_length, requests), default=1)
    if any(len(request.ids) == 0 for request in requests):
        raise InputError("a prompt is empty: there is nothing to predict the first token from")
    if limit is not None and longest + new > limit:
        raise InputError(
            f"a prompt of {longest} tokens and max_new_tokens={new} pass the model's {limit}: shorten the prompt, or "
            "lower max_new_tokens"
        )
    return longest + new


def _read(
    prefill: Callable, params: Params, cache: Any, hidden: Any, waiting: _Waiting, chunks: Sequence[int]
) -> tuple[Any, Any]:
    """Read the next prompts, one in each row, chunk by chunk; whole chunks that a row has read already are left out.

    How a prompt is divided depends on its length alone; a row whose next chunk is smaller than another's waits.
    """
    rows, single = len(waiting.read), waiting.rows
    begin = np.zeros(rows, int)
    ids: list[tuple[int, ...]] = [()] * rows
    for row in range(min(single, len(waiting.left))):
        request = waiting.left.popleft()
        asked = waiting.requests[request]
        ids[row] = tuple(asked.ids)
        if waiting.twice:
            ids[row + single] = tuple(asked.against)
        waiting.pending += [(row, request, place) for place in range(len(asked.samples))]
    taken = [row for row in range(rows) if ids[row]]
    for row in taken:
        same = len(os.path.commonprefix([ids[row], waiting.read[row]]))  # type: ignore[type-var]
        begin[row] = min(same, len(ids[row]) - 1) // chunks[-1] * chunks[-1]  # the last token is read in any case
        waiting.read[row] = ids[row]
    beyond = np.int32(2**30)  # what is written there is dropped
    holds = lambda left: next((size for size in chunks if left <= size), chunks[-1])
    while left := {row: len(ids[row]) - begin[row] for row in taken if begin[row] < len(ids[row])}:
        chunk = max(holds(count) for count in left.values())
        tokens, positions = np.zeros((rows, chunk), np.int32), np.full((rows, chunk), beyond)
        last = np.full(rows, -1, np.int32)
        for row in [row for row, count in left.items() if holds(count) == chunk]:
            part = ids[row][begin[row] : begin[row] + chunk]
            tokens[row, : len(part)], positions[row] = part, begin[row] + np.arange(chunk)
            last[row] = len(part) - 1 if left[row] <= chunk else -1
            begin[row] += chunk
        cache, hidden = prefill(params, cache, hidden, tokens, positions, last)
    return cache, hidden


def _insert(
    insert: Callable, state: Slots, cache: Any, hidden: Any, waiting: _Waiting, free: list[int],
    owners: dict[int, tuple[int, int, int]], killed: np.ndarray,
) -> Slots:  # fmt: skip
    """Begin as many of the waiting samples as there are free slots."""
    orders = np.zeros((len(state.live), 6), np.int32)
    count = min(len(free), len(waiting.pending))
    for number in range(count):
        (row, request, place), slot = waiting.pending[number], free.pop()
        asked = waiting.requests[request]
        names = np.array([asked.problem, asked.samples[place]], np.uint32).view(np.int32)
        orders[number] = slot, row, len(asked.ids), asked.ids[-1], *names
        if waiting.twice:
            mate, second = slot + len(killed), row + waiting.rows
            orders[count + number] = mate, second, len(asked.against), asked.against[-1], *names
        owners[slot], killed[slot] = (request, place, 0), False
    del waiting.pending[:count]
    return insert(state, cache, hidden, orders, np.int32(count * (1 + waiting.twice)))  # type: ignore[no-any-return]


def _answer(drawn: Drawn, slot: int, request: int, place: int) -> Answer:
    count = int(drawn.lengths[slot])
    tokens, logprobs, proposal = (
        tuple(values[slot, :count].tolist()) for values in (drawn.tokens, drawn.logprob, drawn.proposal_logprob)
    )
    return Answer(request, place, tokens, logprobs, proposal, bool(drawn.finished[slot]))


def cut_at_stop(ids: Sequence[int], stop: Sequence[str], decode: Callable[[Sequence[int]], str]) -> int | None:
    """Number of tokens until the text first holds one of the stop texts; None if it never does."""
    holds = lambda count: any(text in decode(ids[:count]) for text in stop)
    if not stop or not holds(len(ids)):
        return None
    return next(count for count in range(1, len(ids) + 1) if holds(count))
