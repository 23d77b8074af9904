"""A local model as a sampler: chunks of one fixed shape, so that a resumed job draws the same bits."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.sampling.config import MAX_NEW_TOKENS, SamplingConfig
from mtjax.sampling.sampler import Batches, Numbers, ProblemSamples, Prompt, Sample, Stop, Unusable
from mtjax.sampling.texts import TokenSample, padded_length, sample_texts
from mtjax.types import LanguageModel, Params


class Prompts(NamedTuple):
    """Prompts as tokens, with room for an answer after each."""

    ids: list[list[int] | Unusable]  # token ids, BOS token included, or why the prompt is unusable
    length: int  # tokens that every prompt is padded to
    max_new_tokens: int  # longest answer


def fit_prompts(
    model: LanguageModel,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    prompt: Callable[[Problem], str],
    max_new_tokens: int | None,
    *,
    skip: bool = False,
) -> Prompts:
    """Encode `prompt(problem)` for each problem and check that it fits.

    `max_new_tokens` None takes 256, or what the longest prompt leaves.

    Raises:
        InputError: a prompt that cannot be made, encoded or fitted (with `skip` it becomes `Unusable` instead); no
            usable prompt.
    """
    ids: list[list[int] | Unusable] = []
    for problem in problems:
        one: list[int] | Unusable
        try:
            one = encode_prompt(tokenizer, prompt(problem))
            check_room(model, len(one), max_new_tokens or 1, "its prompt", "shorten it, or lower max_new_tokens")
        except InputError as error:
            if not skip:
                raise InputError(
                    f"problem {problem.id}: {error} (or skip such problems with data.on_error=skip)"
                ) from error
            one = Unusable(str(error))
        ids.append(one)
    longest = max((len(one) for one in ids if not isinstance(one, Unusable)), default=0)
    if not longest:
        first = next((one.note for one in ids if isinstance(one, Unusable)), "there are none")
        raise InputError(f"no problem can be asked; the first: {first}")
    new = max_new_tokens or min(MAX_NEW_TOKENS, model.config.max_length - longest)
    return Prompts(ids, padded_length(model, longest, new), new)


def check_room(model: LanguageModel, tokens: int, new: int, what: str, remedy: str) -> None:
    """InputError if a prompt of so many tokens leaves the model no room for an answer of `new` tokens."""
    most = model.config.max_length
    if tokens + new > most:
        raise InputError(
            f"{what} has {tokens} tokens; the model's {most} leave {max(most - new, 0)} before an answer of {new}: "
            f"{remedy}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalSampler:
    """Draws from a model on this machine; a `mtjax.sampling.sampler.Sampler`.

    Prompts are taken `max(rows // samples, 1)` at a time, always the same ones together; the last chunk is filled up
    with its last prompt. So the samples of a prompt do not depend on where an earlier job was killed.
    """

    model: LanguageModel
    params: Params
    tokenizer: Tokenizer
    sampling: SamplingConfig
    rows: int  # answers drawn side by side
    length: int | None = None  # tokens that prompts are padded to; None is a power of two times 128 that fits
    by_token: bool = False  # whether samples carry their tokens, and the log-probabilities of each

    def draw(self, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None) -> Batches:
        """The chunks that hold one of `numbers`, in order; ends early after a chunk when `stopped()`."""
        if not prompts:
            return
        size = min(max(self.rows // self.sampling.samples, 1), len(prompts))
        ids = [encode_prompt(self.tokenizer, one) if isinstance(one, str) else one for one in prompts]
        length = self.length
        if length is None:  # a few different ones, though every call has other prompts
            longest = max((len(one) for one in ids if not isinstance(one, Unusable)), default=1)
            room = self.model.config.max_length - self.sampling.longest
            length = max(longest, min(room, 128 << ((longest - 1) // 128).bit_length()))
        for chunk in sorted({number // size for number in (range(len(ids)) if numbers is None else numbers)}):
            yield self._chunk(dict(enumerate(ids[chunk * size : (chunk + 1) * size], chunk * size)), seed, size, length)
            if stopped():
                return

    def _chunk(self, prompts: dict[int, Any], seed: int, size: int, length: int) -> list[ProblemSamples]:
        """Samples of a few prompts, by number."""
        asked = [number for number, ids in prompts.items() if not isinstance(ids, Unusable)]
        drawn: dict[int, list[TokenSample]] = {}
        if asked:
            filled = asked + [asked[-1]] * (size - len(asked))
            found = sample_texts(
                self.model, self.params, self.tokenizer, [prompts[number] for number in filled], self.sampling, seed,
                rows=self.rows, prompt_ids=filled, prompt_length=length,
            )  # fmt: skip
            drawn = dict(zip(asked, found, strict=False))
        samples = {
            number: [as_sample(one, self.tokenizer, self.by_token) for one in found] for number, found in drawn.items()
        }
        notes = {number: ids.note if isinstance(ids, Unusable) else "" for number, ids in prompts.items()}
        return [ProblemSamples(number, samples.get(number, []), note) for number, note in notes.items()]


def as_sample(drawn: TokenSample, tokenizer: Tokenizer, by_token: bool = False) -> Sample:
    """A sample, without its tokens unless `by_token`; InputError if its log-probability is not finite."""
    readable = True
    try:  # as drawn, and as it is trained on: a text that ends in "Answer: " is another without the space
        for text in (drawn.text, drawn.text.strip()):
            tokenizer.encode(text)
    except InputError:
        readable = False
    if not math.isfinite(drawn.logprob):
        raise InputError(
            f"the model gives log-probability {drawn.logprob} to its own text: its weights are broken; use another "
            "checkpoint"
        )
    sample = Sample(drawn.text, drawn.logprob, len(drawn.tokens), drawn.finished, readable)
    if not by_token:
        return sample
    logprobs, proposal = (
        tuple(float(str(np.float32(x))) for x in values)  # the shortest decimal number that gives back the float32
        for values in (drawn.token_logprobs, drawn.proposal_logprobs)
    )
    return sample._replace(token_ids=drawn.tokens, token_logprobs=logprobs, proposal_logprobs=proposal)
