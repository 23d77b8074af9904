"""The contract of a sampler: what mining and self-rethinking draw from, whether a local model or a server."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mtjax.data.problem import Message


class Unusable(NamedTuple):
    """A prompt that cannot be sampled from; `note` says why."""

    note: str


Prompt = str | Sequence[int] | Sequence[Message] | Unusable
"""A text to continue, its token ids (local models only), or the messages of a chat (servers only)."""


class Sample(NamedTuple):
    """One answer.

    Attributes:
        text: without end token, cut before a stop text.
        logprob: summed log-probability (nats) of its tokens; None if unknown.
        tokens: number of tokens; None if unknown.
        finished: ended by an end token or a stop text, and not by the length limit.
        readable: the tokenizer can encode the text again.
    """

    text: str
    logprob: float | None = None
    tokens: int | None = None
    finished: bool = True
    readable: bool = True


class ProblemSamples(NamedTuple):
    """All samples for prompt number `number`; or a `note` that says why there are none."""

    number: int
    samples: Sequence[Sample]
    note: str = ""


@runtime_checkable
class Sampler(Protocol):
    """Draws samples for numbered prompts."""

    def draw(
        self, prompts: Sequence[Prompt], seed: int, stopped: Callable[[], Any], numbers: Sequence[int] | None = None
    ) -> Generator[list[ProblemSamples], None, None]:
        """Samples of the prompts in batches, in any order; ends early, after a batch, when `stopped()`.

        Args:
            prompts: all prompts; a prompt's place is its number.
            seed: of the draws; with the number it determines what a local model draws for a prompt.
            stopped: asked between batches.
            numbers: the prompts to draw for, default all. Neighbours in the same batch may be drawn too.
        """
        ...
