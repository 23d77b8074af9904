"""What a policy, local or behind a server, hands to mining."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple


class Drawn(NamedTuple):
    """One sample of a policy.

    Attributes:
        text: without end token, cut in front of a stop text.
        logprob: summed log-probability (nats) of its tokens; None where nobody says.
        tokens: how many they are; None likewise.
        finished: ended by itself.
        readable: the policy's tokenizer can write the text again.
    """

    text: str
    logprob: float | None = None
    tokens: int | None = None
    finished: bool = True
    readable: bool = True


class Attempt(NamedTuple):
    """All samples of the problem `number`; or a `note` that says why there are none."""

    number: int
    samples: Sequence[Drawn]
    note: str = ""


Draw = Callable[[Sequence[int], Callable[[], Any]], Generator[Sequence[Attempt], None, None]]
"""A policy as mining sees it, `draw(todo, stopped)`: from the numbers of the problems to be done to their samples, in
batches of any order. It may give problems that were not asked for, and ends early when `stopped()`."""
