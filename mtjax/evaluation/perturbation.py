"""Answers that leave the greedy one at a chosen token, and go on from there."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mtjax.data.encoding import continuation
from mtjax.errors import InputError
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.sampler import cut
from mtjax.sampling.texts import TokenSample, sample_texts
from mtjax.types import LanguageModel, Params

POINTS: dict[str, Callable[[Float[np.ndarray, " T"]], int]] = {
    "highest": lambda entropy: int(np.argmax(entropy)),
    "lowest": lambda entropy: int(np.argmin(entropy)),
    "change": lambda entropy: int(np.argmax(np.abs(np.diff(entropy, prepend=entropy[:1])))),
}
"""Which token is drawn anew: that of the highest entropy, the lowest, or the largest change from the one before."""


def perturbed(
    model: LanguageModel,
    params: Params,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[TokenSample],
    entropies: Sequence[Float[np.ndarray, " T"]],
    sampling: SamplingConfig,
    seed: int,
    rows: int,
) -> dict[str, list[list[TokenSample]]]:
    """For each of `POINTS`: `sampling.samples` answers to each prompt that keep the tokens before the point.

    `logprob` of such an answer is that of its new tokens. Raises InputError for an encoder-decoder.
    """
    if getattr(model.config, "encoder", None) is not None:
        raise InputError("metric 'perturbation' goes on from the middle of an answer, which needs a decoder")
    found: dict[str, list[list[TokenSample]]] = {}
    for number, (name, point) in enumerate(POINTS.items(), 1):
        kept = [one.tokens[: point(entropy)] for one, entropy in zip(answers, entropies, strict=True)]
        begun = [[*prompt, *tokens] for prompt, tokens in zip(prompts, kept, strict=True)]
        longest = max(map(len, begun))
        room = min(sampling.longest, model.config.max_length - longest)
        if room < 1:
            raise InputError(
                f"metric 'perturbation': a prompt with {longest} tokens of its answer leaves no room in a model of "
                f"{model.config.max_length}; lower --max_new_tokens"
            )
        settings = dataclasses.replace(sampling, max_new_tokens=room)
        drawn = sample_texts(model, params, tokenizer, begun, settings, seed + number, rows=rows)
        found[name] = [
            [_whole(tokenizer, prompt, tokens, sample, sampling.stop) for sample in row]
            for prompt, tokens, row in zip(prompts, kept, drawn, strict=True)
        ]
    return found


def _whole(
    tokenizer: Any, prompt: Sequence[int], kept: Sequence[int], sample: TokenSample, stop: Sequence[str]
) -> TokenSample:
    """A sample with the tokens before it."""
    tokens = (*kept, *sample.tokens)
    said = tokens[:-1] if tokens and tokens[-1] in tokenizer.end_ids else tokens
    return sample._replace(text=cut(continuation(tokenizer.decode, prompt, said), stop), tokens=tokens)
