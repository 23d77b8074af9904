"""A local model as the policy that mining asks: in chunks of one fixed shape, drawn again bit for bit after a kill."""

import dataclasses
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.samples import Attempt, Drawn
from mtjax.sampling.texts import BUCKET, Sample, sample_texts
from mtjax.types import LanguageModel, Params

MAX_NEW_TOKENS = 256
"""Longest solution where the settings do not say."""


class Prompts(NamedTuple):
    """Prompts as tokens, with room for an answer behind each.

    Attributes:
        ids: token ids, begin token included; empty for a prompt that cannot be asked.
        notes: why, by number of the prompt.
        length: tokens that every prompt is padded to.
        max_new_tokens: longest answer.
    """

    ids: list[list[int]]
    notes: Mapping[int, str]
    length: int
    max_new_tokens: int


def fit_prompts(
    model: LanguageModel,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    prompt: Callable[[Problem], str],
    max_new_tokens: int | None,
    *,
    skip: bool = False,
) -> Prompts:
    """Encode each problem's `prompt(problem)` and see that it fits.

    `max_new_tokens` None takes 256, or what the longest prompt leaves.

    Raises InputError naming the first prompt that cannot be made, read or fitted (with `skip` they are noted instead),
    and where none is left.
    """
    ids: list[list[int]] = []
    notes: dict[int, str] = {}
    limit = model.config.max_length - (max_new_tokens or 1)
    for number, problem in enumerate(problems):
        try:
            ids.append(encode_prompt(tokenizer, prompt(problem)))
            if len(ids[-1]) > limit:
                raise InputError(
                    f"its prompt has {len(ids[-1])} tokens; the model's {model.config.max_length} leave "
                    f"{max(limit, 0)} before an answer of {max_new_tokens or 1}: shorten it, or lower max_new_tokens"
                )
        except InputError as error:
            if not skip:
                raise InputError(
                    f"problem {problem.id}: {error} (or skip such problems with data.on_error=skip)"
                ) from error
            ids[number:] = [[]]
            notes[number] = str(error)
    longest = max((len(one) for one in ids), default=0)
    if not longest:
        raise InputError(f"no problem can be asked; the first: {next(iter(notes.values()), 'there are none')}")
    new = max_new_tokens or min(MAX_NEW_TOKENS, model.config.max_length - longest)
    length = max(longest, min(-(-longest // BUCKET) * BUCKET, model.config.max_length - new))
    return Prompts(ids, notes, length, new)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalPolicy:
    """Draws solutions from a model on this machine; called with numbers of problems, see `mtjax.sampling.samples.Draw`.

    Problems are taken `max(rows // samples, 1)` at a time, always the same ones together; the last chunk is filled up
    by asking its last prompt again. So what is drawn for a problem does not depend on where an earlier run was killed.
    """

    model: LanguageModel
    params: Params
    tokenizer: Tokenizer
    end_ids: Sequence[int]
    prompts: Prompts
    sampling: SamplingConfig
    seed: int
    rows: int

    def __call__(self, todo: Sequence[int], stopped: Callable[[], Any]) -> Generator[list[Attempt], None, None]:
        """The chunks that hold one of these numbers, in order; ends early after a chunk when `stopped()`."""
        count = len(self.prompts.ids)
        size = min(max(self.rows // self.sampling.samples, 1), count)
        for chunk in sorted({number // size for number in todo}):
            numbers = list(range(chunk * size, min((chunk + 1) * size, count)))
            yield self._draw(numbers, size)
            if stopped():
                return

    def _draw(self, numbers: list[int], size: int) -> list[Attempt]:
        asked = [number for number in numbers if number not in self.prompts.notes]
        drawn: dict[int, list[Sample]] = {}
        if asked:
            filled = asked + [asked[-1]] * (size - len(asked))
            found = sample_texts(
                *(self.model, self.params, self.tokenizer, [self.prompts.ids[number] for number in filled]),
                *(self.sampling, self.seed),
                rows=self.rows,
                prompt_ids=filled,
                end_ids=self.end_ids,
                prompt_length=self.prompts.length,
            )
            drawn = dict(zip(asked, found, strict=False))
        return [
            Attempt(number, [self._as_drawn(one) for one in drawn.get(number, [])], self.prompts.notes.get(number, ""))
            for number in numbers
        ]

    def _as_drawn(self, sample: Sample) -> Drawn:
        try:
            # As drawn, and as it is trained on: a text that ends in "Answer: " is another without the space.
            self.tokenizer.encode(sample.text)
            self.tokenizer.encode(sample.text.strip())
        except InputError:
            readable = False
        else:
            readable = True
        if not math.isfinite(sample.logprob):
            raise InputError(
                f"the model gives log-probability {sample.logprob} to its own text: its weights are broken"
            )
        return Drawn(sample.text, sample.logprob, len(sample.tokens), sample.finished, readable)
