"""A local model as a sampler: what a prompt gets does not depend on the others, so that a job can be resumed."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.special_tokens import shield
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.sampling.config import MAX_NEW_TOKENS, SamplingConfig
from mtjax.sampling.sampler import Batches, Contrasted, Numbers, ProblemSamples, Prompt, Sample, Stop, Unusable
from mtjax.sampling.texts import TokenSample, encoded, stream_texts
from mtjax.types import LanguageModel, Params

Ending = Callable[[int, Sample], float | None]
"""`ending(number, sample)`: 1 for a right answer to the prompt of this number, -1 for a wrong one; None: not known."""


class Prompts(NamedTuple):
    """Prompts as tokens, with room for an answer after each."""

    ids: list[list[int] | Contrasted | Unusable]  # token ids, BOS token included, or why the prompt is unusable
    max_new_tokens: int  # longest answer


def fit_prompts(
    model: LanguageModel,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    prompt: Callable[[Problem], str | Contrasted],
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
    ids: list[list[int] | Contrasted | Unusable] = []
    length = lambda one: max(map(len, one)) if isinstance(one, Contrasted) else len(one)
    for problem in problems:
        one: list[int] | Contrasted | Unusable
        try:
            one = encoded(tokenizer, prompt(problem))
            check_room(model, length(one), max_new_tokens or 1, "its prompt", "shorten it, or lower max_new_tokens")
        except InputError as error:
            if not skip:
                raise InputError(
                    f"problem {problem.id}: {error} (or skip such problems with data.on_error=skip)"
                ) from error
            one = Unusable(str(error))
        ids.append(one)
    longest = max((length(one) for one in ids if not isinstance(one, Unusable)), default=0)
    if not longest:
        first = next((one.note for one in ids if isinstance(one, Unusable)), "there are none")
        raise InputError(f"no problem can be asked; the first: {first}")
    new = max_new_tokens or min(MAX_NEW_TOKENS, model.config.max_length - longest)
    return Prompts(ids, new)


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

    Answers are drawn `rows` at a time, over all prompts. The samples of a prompt depend on its number and its text, and
    not on where an earlier job was killed.
    """

    model: LanguageModel
    params: Params
    tokenizer: Tokenizer
    sampling: SamplingConfig
    rows: int  # answers drawn side by side
    by_token: bool = False  # whether samples carry their tokens, and the log-probabilities of each
    ending: Ending | None = None  # how an answer ends, for searches that learn from it

    def draw(self, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None) -> Batches:
        """Each prompt when its samples are complete; ends early after one when `stopped()`."""
        asked = list(range(len(prompts)) if numbers is None else numbers)
        ids = {number: self._ids(prompts[number]) for number in asked}
        unusable = [ProblemSamples(number, [], one.note) for number, one in ids.items() if isinstance(one, Unusable)]
        if unusable:
            yield unusable
            if stopped():
                return
        usable = {number: one for number, one in ids.items() if not isinstance(one, Unusable)}
        names, found = list(usable), {number: dict[int, Sample]() for number in usable}
        drawn = stream_texts(
            self.model, self.params, self.tokenizer, list(usable.values()), self.sampling, seed, rows=self.rows,
            prompt_ids=names,
        )  # fmt: skip
        for place, sample, answer in drawn:
            number = names[place]
            found[number][sample] = as_sample(answer, self.tokenizer, self.by_token)
            if len(found[number]) == self.sampling.samples:
                samples = found.pop(number)
                yield [ProblemSamples(number, [samples[sample] for sample in sorted(samples)])]
                if stopped():
                    return

    def _ids(self, prompt: Any) -> Any:
        return prompt if isinstance(prompt, Unusable) else encoded(self.tokenizer, prompt)


def as_sample(drawn: TokenSample, tokenizer: Tokenizer, by_token: bool = False) -> Sample:
    """A sample, without its tokens unless `by_token`; InputError if its log-probability is not finite."""
    readable = True
    try:  # as drawn, and as it is trained on: a text that ends in "Answer: " is another without the space
        for text in (drawn.text, drawn.text.strip()):
            tokenizer.encode(shield(text, tokenizer.special))  # data have special tokens as text
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
