"""The contract of a sampler: what mining and self-rethinking draw from, whether a local model or a server."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from mtjax.data.answers.statements import without_thoughts
from mtjax.data.problem import Message

Silence = Literal["", "empty", "reasoning", "filtered"]
"""Why a sample says nothing that can be graded: no text, a thought alone, or a content filter; "" where it does."""


class Unusable(NamedTuple):
    """A prompt that cannot be sampled from; `note` says why."""

    note: str


class Contrasted(NamedTuple):
    """A prompt, and a second one that a decoder such as `contrastive` reads beside it."""

    prompt: str | Sequence[int]
    against: str | Sequence[int]


class Sample(NamedTuple):
    """One answer."""

    text: str  # without end token, cut before a stop text
    logprob: float | None = None  # summed log-probability (nats) of its tokens; None if unknown
    tokens: int | None = None  # number of tokens; None if unknown
    finished: bool = True  # ended by an end token or a stop text, and not by the length limit
    readable: bool = True  # the tokenizer can encode the text again
    withheld: Silence = ""  # what a server says of a reply without an answer
    token_ids: tuple[int, ...] = ()  # its tokens, an end token included; empty where they are not asked for
    token_logprobs: tuple[float, ...] = ()  # the parts of `logprob`, likewise
    proposal_logprobs: tuple[float, ...] = ()  # the same under the distribution that was drawn from
    steps: tuple[str, ...] = ()  # its steps, where a search drew them one by one
    step_values: tuple[float, ...] = ()  # how it was expected to end after each, from -1 (wrong) to 1 (right)


class ProblemSamples(NamedTuple):
    """All samples for prompt number `number`; or a `note` that says why there are none."""

    number: int
    samples: Sequence[Sample]
    note: str = ""


def silence(sample: Any) -> Silence:
    """Why a sample, local or of a server, says nothing that can be graded; "" where it says something.

    >>> silence(Sample(" ")), silence(Sample("<think>is it 20")), silence(Sample("18"))
    ('empty', 'reasoning', '')
    """
    withheld: Silence = getattr(sample, "withheld", "")
    if withheld:
        return withheld
    if not sample.text.strip():
        return "empty"
    return "" if without_thoughts(sample.text).strip() else "reasoning"


Prompt = str | Sequence[int] | Contrasted | Sequence[Message] | Unusable
"""A text to continue, its token ids or two prompts (local models only), or the messages of a chat (servers only)."""

Stop = Callable[[], Any]  # Asked between batches whether to stop.

Numbers = Sequence[int] | None  # Numbers of the prompts to draw for; None is all.

Batches = Generator[list[ProblemSamples], None, None]  # Samples of a few prompts at a time, in any order.


@runtime_checkable
class Sampler(Protocol):
    """Draws samples for numbered prompts."""

    def draw(self, prompts: Sequence[Prompt], seed: int, stopped: Stop, numbers: Numbers = None) -> Batches:
        """Samples of the prompts in batches, in any order; ends early, after a batch, when `stopped()`.

        A prompt's place in `prompts` is its number; with `seed` it determines what a local model draws for the prompt.
        Neighbours of the prompts in `numbers` may be drawn too.
        """
        ...


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop texts; all of it without one."""
    places = [place for place in map(text.find, stop) if place >= 0]
    return text[: min(places)] if places else text
