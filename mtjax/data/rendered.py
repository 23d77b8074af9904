"""What a task makes of a problem: text, and which of its characters count."""

from collections.abc import Mapping
from typing import NamedTuple


class Span(NamedTuple):
    """Characters `start .. end - 1` of a text, and how much each of their tokens counts as a target."""

    start: int
    end: int
    weight: float


class Rendered(NamedTuple):
    """One sequence to train on, as text.

    Attributes:
        name: which rendering of the problem this is, such as "right/0"; unique within the problem.
        text: everything but the begin and end tokens, which the tokenizer's ids stand for.
        spans: the targets; characters outside all spans have weight 0.
        prompt_end: decoding starts behind `text[:prompt_end]`, so a token must end there.
        ends: whether the end token follows the text; where it does, it is trained with weight 1.
        extras: numbers about the whole sequence, such as "polarity": 1 right, 0 wrong.
        steps: where the steps of the answer start, ascending, for objectives that look at steps; None where none does.
    """

    name: str
    text: str
    spans: tuple[Span, ...]
    prompt_end: int
    ends: bool
    extras: Mapping[str, float]
    steps: tuple[int, ...] | None = None
