"""From prompts as text to answers as text: any number of prompts and samples, in chunks of one fixed shape."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.data.encoding import continuation
from mtjax.data.examples import encode_prompt
from mtjax.distributed.placement import read_whole
from mtjax.distributed.sharding import ways
from mtjax.errors import InputError
from mtjax.io.progress import is_verbose, track
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.loop import make_sampler, row_keys
from mtjax.sampling.sampler import cut
from mtjax.types import LanguageModel, Params

SHOWN = 3  # Most texts that `--verbose` prints of those that are read.
BUCKET = 32  # prompts are padded to a multiple of this many tokens, which limits the number of compiled shapes


class TokenSample(NamedTuple):
    """One answer of a local model, with its tokens."""

    text: str  # the answer without its EOS token, cut before a stop text
    tokens: tuple[int, ...]  # all drawn tokens, including the EOS token or those of the stop text
    logprob: float  # log-probability (nats) of `tokens` given the prompt, by the model itself at temperature 1
    proposal_logprob: float  # the same under the distribution that was drawn from; 0 under greedy decoding
    finished: bool  # ended by an end token or a stop text, not by `max_new_tokens`
    token_logprobs: tuple[float, ...] = ()  # the parts of `logprob`, one for each token
    proposal_logprobs: tuple[float, ...] = ()  # the parts of `proposal_logprob`


def sample_texts(
    model: LanguageModel,
    params: Params,
    tokenizer: Any,
    prompts: Sequence[str | Sequence[int]],
    config: SamplingConfig,
    seed: int,
    *,
    rows: int = 16,
    prompt_ids: Sequence[int] | None = None,
    prompt_length: int | None = None,
) -> list[list[TokenSample]]:
    """Draw `config.samples` answers to each prompt; result `[prompt][sample]`.

    Prompts are padded to one length; chunks of `rows` rows (fewer only when there are fewer in all) run through one
    compiled loop, samples of a prompt side by side with one prefill. An answer depends on its prompt, on `(seed, prompt
    id, sample)` and on the chunk's shape, not on the other prompts.

    Args:
        prompts: texts, or token ids that are taken as they are.
        rows: rows of a chunk; on a mesh rounded up to what its rows divide into.
        prompt_ids: number of each prompt in its key; default its place in the list.
        prompt_length: pad to this many tokens, so that several calls share one shape; default the longest prompt,
            rounded up to a multiple of 32 if the model has room.

    Raises:
        InputError: an empty prompt; a prompt too long for the model or for `prompt_length`.
    """
    ids = [encode_prompt(tokenizer, prompt) if isinstance(prompt, str) else list(prompt) for prompt in prompts]
    if not ids:
        return []
    if is_verbose():
        for number, read in enumerate(ids[:SHOWN], 1):
            print(f"reads    {number} of {len(ids)}: {tokenizer.decode(read)!r}", file=sys.stderr, flush=True)
    sampler = make_sampler(model, config, end_ids=tokenizer.end_ids, pad_id=tokenizer.pad_id, decode=tokenizer.decode)
    longest = max(map(len, ids))
    length = padded_length(model, longest, config.longest) if prompt_length is None else prompt_length
    if longest > length:
        raise InputError(f"a prompt has {longest} tokens, but prompt_length is {length}: raise it")
    mesh = jax.sharding.get_abstract_mesh()
    together = min(config.samples, rows) if mesh.empty else 1  # samples of one prompt in a chunk
    numbers = range(len(ids)) if prompt_ids is None else prompt_ids
    work = [(prompt, first) for prompt in range(len(ids)) for first in range(0, config.samples, together)]
    if mesh.empty:
        count = min(max(rows // together, 1), len(work))
    else:
        split = ways(mesh, "batch")
        count = -(-rows // split) * split
    out: list[list[TokenSample]] = [[] for _ in ids]
    reads = getattr(model.config, "encoder", None) is not None  # the decoder's text begins by itself
    for begin in track(range(0, len(work), count), "sampling"):
        chunk = work[begin : begin + count]
        tokens = np.full((count, length), tokenizer.pad_id, np.int32)
        lengths = np.zeros(count, np.int32)
        problem, sample = np.zeros((2, count, together), np.uint32)
        for row, (prompt, first) in enumerate(chunk):
            tokens[row, : len(ids[prompt])], lengths[row] = ids[prompt], len(ids[prompt])
            problem[row], sample[row] = numbers[prompt], first + np.arange(together)
        keys = row_keys(seed, problem.ravel(), sample.ravel()).reshape(count, together)
        drawn = read_whole(sampler(params, tokens, lengths, keys))
        for row, (prompt, first) in enumerate(chunk):
            for column in range(min(together, config.samples - first)):
                out[prompt].append(_sample(drawn, (row, column), tokenizer, [] if reads else ids[prompt], config.stop))
    return out


def padded_length(model: LanguageModel, longest: int, new: int) -> int:
    """The longest prompt's tokens, rounded up to a multiple of 32 if the model has room for `new` more."""
    limit = getattr(model.config, "max_length", None)
    rounded = -(-longest // BUCKET) * BUCKET
    return rounded if limit is None else max(longest, min(rounded, limit - new))


def _sample(drawn: Any, at: tuple[int, int], tokenizer: Any, prompt: Sequence[int], stop: Sequence[str]) -> TokenSample:
    tokens = drawn.tokens[at][: drawn.lengths[at]].tolist()
    each = lambda values: tuple(values[at][: len(tokens)].tolist())
    said = tokens[:-1] if tokens and tokens[-1] in tokenizer.end_ids else tokens
    return TokenSample(
        text=cut(continuation(tokenizer.decode, prompt, said), stop),
        tokens=tuple(tokens),
        logprob=float(drawn.logprob[at].sum(dtype=np.float64)),
        proposal_logprob=float(drawn.proposal_logprob[at].sum(dtype=np.float64)),
        finished=bool(drawn.finished[at]),
        token_logprobs=each(drawn.logprob),
        proposal_logprobs=each(drawn.proposal_logprob),
    )
