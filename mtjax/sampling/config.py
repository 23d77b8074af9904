"""Settings of sampling."""

import dataclasses
from typing import Annotated, Any

import tyro
from annotated_types import Ge, Gt, Le

from mtjax.errors import InputError
from mtjax.registry import plain_settings
from mtjax.sampling.decoders import DECODERS, AnyDecoder, Temperature
from mtjax.validation import PositiveInt, check_types

MAX_NEW_TOKENS = 256  # Longest answer if the settings do not say.


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How to draw an answer."""

    temperature: Annotated[float, Ge(0)] = 1.0  # Divides the logits; 0 takes the most likely token every time.
    top_k: Annotated[int, Ge(0)] = 0  # Draw among the k most likely tokens only; 0 draws among all.
    top_p: Annotated[float, Gt(0), Le(1)] = 1.0  # Draw among the fewest tokens whose probability reaches p; 1: all.
    max_new_tokens: PositiveInt | None = MAX_NEW_TOKENS
    """Longest answer, in tokens, end token included; None takes 256, or the room that the longest prompt leaves."""
    samples: PositiveInt = 1  # Answers per prompt.
    stop: tuple[str, ...] = ()  # Texts that end an answer; the answer is cut before the first.
    decoder: AnyDecoder = Temperature()  # type: ignore[valid-type]
    """How logits become the distribution of the next token, with the settings above."""

    def __post_init__(self) -> None:
        check_types(self)
        if "" in self.stop:
            raise InputError("stop holds an empty text, which would end every answer at once; leave it out")

    @property
    def longest(self) -> int:
        """Longest answer in tokens: `max_new_tokens`, or 256 if it is None."""
        return MAX_NEW_TOKENS if self.max_new_tokens is None else self.max_new_tokens

    @property
    def reads_two(self) -> bool:
        """Whether the decoder reads a second prompt for each answer."""
        return self.decoder(self.temperature, self.top_k, self.top_p).combine is not None

    def check_one_reply(self) -> None:
        """InputError unless one answer is drawn for each prompt."""
        if self.samples != 1:
            raise InputError(f"samples={self.samples}: expected 1, because each prompt gets one reply")

    def to_json(self) -> dict[str, Any]:
        """The settings as the manifest of a results folder holds them; the default decoder is left out, so that
        folders of version 0.1 can be resumed."""
        found = {"kind": "SamplingConfig", **plain_settings(dataclasses.replace(self, max_new_tokens=self.longest))}
        del found["decoder"]
        if self.decoder != Temperature():
            own = {field.name: getattr(self.decoder, field.name) for field in dataclasses.fields(self.decoder)}
            found["decoder"] = {"kind": DECODERS.name_of(self.decoder) or type(self.decoder).__name__, **own}
        return found


EmbeddedSampling = Annotated[SamplingConfig, tyro.conf.arg(name="")]
"""The type of a command's field that holds these settings: on the command line `--temperature`, without a prefix."""
