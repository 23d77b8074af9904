"""From prompts as text to answers as text: any number of prompts and samples, through the engine."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.encoding import continuation
from mtjax.data.examples import encode_prompt
from mtjax.io.progress import is_verbose, track
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.engine import Answer, Request, make_engine
from mtjax.sampling.sampler import Contrasted, cut
from mtjax.types import LanguageModel, Params

SHOWN = 3  # Most texts that `--verbose` prints of those that are read.


class TokenSample(NamedTuple):
    """One answer of a local model, with its tokens."""

    text: str  # the answer without its EOS token, cut before a stop text
    tokens: tuple[int, ...]  # all drawn tokens, including the EOS token or those of the stop text
    logprob: float  # log-probability (nats) of `tokens` given the prompt, by the model itself at temperature 1
    proposal_logprob: float  # the same under the distribution that was drawn from; 0 under greedy decoding
    finished: bool  # ended by an end token or a stop text, not by `max_new_tokens`
    token_logprobs: tuple[float, ...] = ()  # the parts of `logprob`, one for each token
    proposal_logprobs: tuple[float, ...] = ()  # the parts of `proposal_logprob`
    value: float | None = None  # by a verifier, from -1 (wrong) to 1 (right); None where none was asked


def sample_texts(
    model: LanguageModel,
    params: Params,
    tokenizer: Any,
    prompts: Sequence[str | Sequence[int] | Contrasted],
    config: SamplingConfig,
    seed: int,
    *,
    rows: int = 16,
    prompt_ids: Sequence[int] | None = None,
) -> list[list[TokenSample]]:
    """Draw `config.samples` answers to each prompt; result `[prompt][sample]`.

    Answers are drawn `rows` at a time; one that has ended makes room for the next. An answer depends on its prompt, on
    `(seed, prompt id, sample)`, on the settings and on `rows`, not on the other prompts.

    Args:
        prompts: texts, token ids that are taken as they are, or two of either for a decoder that reads two.
        rows: answers drawn side by side; on a mesh rounded up to what its rows divide into.
        prompt_ids: number of each prompt in its key; default its place in the list.

    Raises:
        InputError: an empty prompt; a prompt too long for the model.
    """
    ids = [encoded(tokenizer, prompt) for prompt in prompts]
    if is_verbose():
        for number, read in enumerate(ids[:SHOWN], 1):
            shown = read.prompt if isinstance(read, Contrasted) else read
            print(f"reads    {number} of {len(ids)}: {tokenizer.decode(shown)!r}", file=sys.stderr, flush=True)
    found: list[dict[int, TokenSample]] = [{} for _ in ids]
    drawn = stream_texts(model, params, tokenizer, ids, config, seed, rows=rows, prompt_ids=prompt_ids)
    for prompt, sample, answer in track(drawn, "sampling", len(ids) * config.samples):
        found[prompt][sample] = answer
    return [[answers[sample] for sample in range(config.samples)] for answers in found]


def encoded(tokenizer: Any, prompt: str | Sequence[int] | Contrasted) -> Any:
    """The token ids of a prompt; those of both of a `Contrasted`. InputError for an empty text."""
    if isinstance(prompt, Contrasted):
        return Contrasted(*(encoded(tokenizer, one) for one in prompt))
    return encode_prompt(tokenizer, prompt) if isinstance(prompt, str) else list(prompt)


def stream_texts(
    model: LanguageModel,
    params: Params,
    tokenizer: Any,
    ids: Sequence[Any],
    config: SamplingConfig,
    seed: int,
    *,
    rows: int,
    prompt_ids: Sequence[int] | None = None,
) -> Iterator[tuple[int, int, TokenSample]]:
    """The answers of `sample_texts` as they end: place of the prompt, number of the sample, answer."""
    if not ids:
        return
    draw = make_engine(
        model, config, slots=rows, end_ids=tokenizer.end_ids, pad_id=tokenizer.pad_id, decode=tokenizer.decode
    )
    numbers = range(len(ids)) if prompt_ids is None else prompt_ids
    both = [one if isinstance(one, Contrasted) else Contrasted(one, ()) for one in ids]
    requests = [
        Request(one, number, range(config.samples), against)  # type: ignore[arg-type]
        for (one, against), number in zip(both, numbers, strict=True)
    ]
    reads = getattr(model.config, "encoder", None) is not None  # the decoder's text begins by itself
    for answer in draw(params, requests, seed):
        prompt = [] if reads else requests[answer.request].ids
        yield answer.request, answer.sample, _sample(answer, tokenizer, prompt, config.stop)


def _sample(answer: Answer, tokenizer: Any, prompt: Sequence[int], stop: Sequence[str]) -> TokenSample:
    tokens = answer.tokens
    said = tokens[:-1] if tokens and tokens[-1] in tokenizer.end_ids else tokens
    return TokenSample(
        text=cut(continuation(tokenizer.decode, prompt, said), stop),
        tokens=tokens,
        logprob=float(np.sum(answer.logprobs, dtype=np.float64)),
        proposal_logprob=float(np.sum(answer.proposal_logprobs, dtype=np.float64)),
        finished=answer.finished,
        token_logprobs=answer.logprobs,
        proposal_logprobs=answer.proposal_logprobs,
    )
