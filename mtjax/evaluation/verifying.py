"""Values of drawn answers by a verifier: the value head of the model itself, or that of another one."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.sampling.decoding import Decoding
from mtjax.sampling.sampler import Contrasted
from mtjax.sampling.texts import TokenSample, encoded
from mtjax.sampling.values import values_of
from mtjax.types import LanguageModel, Params

Drawn = list[list[TokenSample]]
Verifier = Callable[[Sequence[Problem], Sequence[Any], Drawn], Drawn]
"""`verify(problems, prompts, drawn)`: the samples with their values; `prompts` are what they were drawn after."""


@dataclasses.dataclass(frozen=True)
class ValueVerifier:
    """The value head of a model at the last token of each answer, before its end token, where training has its target.

    Without `decoding` the model has drawn the answers itself, and reads what it read; with it, it reads the question as
    in its own training, and the answer's text.
    """

    model: LanguageModel
    params: Params
    tokenizer: Any
    decoding: Decoding | None = None
    rows: int = 16  # texts that are read side by side

    def __post_init__(self) -> None:
        if self.model.value is None:
            raise InputError(
                "an aggregation by verifier needs a value head: train one with model.value_head:value_head and "
                "objective:alphamath and give its run folder as --verifier, or use --aggregation=majority"
            )

    def __call__(self, problems: Sequence[Problem], prompts: Sequence[Any], drawn: Drawn) -> Drawn:
        """The samples with their values. InputError for a text that is longer than the model reads."""
        texts = [
            self._ids(problem, prompt, sample)
            for problem, prompt, row in zip(problems, prompts, drawn, strict=True)
            for sample in row
        ]
        values = iter(values_of(self.model, self.params, texts, rows=self.rows, pad_id=self.tokenizer.pad_id))
        return [[sample._replace(value=next(values)) for sample in row] for row in drawn]

    def _ids(self, problem: Problem, prompt: Any, sample: TokenSample) -> list[int]:
        if self.decoding is None:
            read = encoded(self.tokenizer, prompt)
            said = [token for token in sample.tokens if token not in self.tokenizer.end_ids]
            return [*(read.prompt if isinstance(read, Contrasted) else read), *said]
        asked = encode_prompt(self.tokenizer, self.decoding.prompt(problem.question))
        return [*asked, *self.tokenizer.encode(sample.text).ids]
