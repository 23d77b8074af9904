"""Settings of sampling."""

import dataclasses
from typing import Annotated, Any

import tyro

from mtjax.errors import InputError
from mtjax.registry import plain_settings
from mtjax.sampling.decoders import DECODERS, AnyDecoder, Temperature

MAX_NEW_TOKENS = 256
"""Longest answer if the settings do not say."""


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How to draw an answer."""

    temperature: float = 1.0  # Divides the logits; 0 takes the most likely token every time.
    top_k: int = 0  # Draw among the k most likely tokens only; 0 draws among all.
    top_p: float = 1.0
    """Draw among the fewest tokens whose probability reaches p, after temperature and top_k; 1 draws among all."""
    max_new_tokens: int | None = MAX_NEW_TOKENS
    """Longest answer, in tokens, end token included; None takes 256, or the room that the longest prompt leaves."""
    samples: int = 1  # Answers per prompt.
    stop: tuple[str, ...] = ()  # Texts that end an answer; the answer is cut before the first.
    decoder: AnyDecoder = Temperature()  # type: ignore[valid-type]
    """How the distribution of the next token is made from the logits, with the settings above."""

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise InputError(f"temperature={self.temperature}: expected 0 (greedy) or more")
        if self.top_k < 0:
            raise InputError(f"top_k={self.top_k}: expected 0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: expected more than 0, up to 1 (all tokens)")
        if self.longest < 1:
            raise InputError(f"max_new_tokens={self.max_new_tokens}: expected at least 1, or None")
        if self.samples < 1:
            raise InputError(f"samples={self.samples}: expected at least 1")
        if "" in self.stop:
            raise InputError("stop holds an empty text, which would end every answer at once; leave it out")

    @property
    def longest(self) -> int:
        """Longest answer in tokens: `max_new_tokens`, or 256 if it is None."""
        return MAX_NEW_TOKENS if self.max_new_tokens is None else self.max_new_tokens

    def to_json(self) -> dict[str, Any]:
        """The settings as the manifest of a results folder holds them; the default decoder is left out, so that
        folders of version 0.1 can be resumed."""
        found = {"kind": "SamplingConfig", **plain_settings(dataclasses.replace(self, max_new_tokens=self.longest))}
        if self.decoder == Temperature():
            del found["decoder"]
        else:
            own = {field.name: getattr(self.decoder, field.name) for field in dataclasses.fields(self.decoder)}
            found["decoder"] = {"kind": DECODERS.name_of(self.decoder) or type(self.decoder).__name__, **own}
        return found


EmbeddedSampling = Annotated[SamplingConfig, tyro.conf.arg(name="")]
"""The type of a command's field that holds these settings: on the command line `--temperature`, without a prefix."""
