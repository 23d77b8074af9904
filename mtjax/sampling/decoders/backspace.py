"""Backspace: a token that takes back the last one, obeyed."""

import dataclasses
from typing import Annotated

from annotated_types import Ge

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import proposal
from mtjax.validation import check_types


@DECODERS.register("backspace")
@dataclasses.dataclass(frozen=True)
class Backspace:
    """Sample with a backspace: a model that was trained with the task `backspace` takes wrong tokens back.

    The token `mark_id` is never part of the answer: it removes the last token of the answer so far, and the model goes
    on as if that had not been drawn; in an empty answer it does nothing. After temperature, top-k and top-p.
    `max_new_tokens` counts draws, those that were taken back and backspaces included. An answer's log-probability is
    that of its tokens, each after those before it; the draws that were taken back are not in it. Stop texts are
    refused, since one could be taken back again.

    Source: the action is that of Cundy and Ermon, "SequenceMatch: Imitation Learning for Autoregressive Sequence
    Modelling with Backtracking", ICLR 2024 (arXiv 2306.05426).
    """

    mark_id: Annotated[int, Ge(0)] = 8  # The token that means backspace; 8 is that of `data.tokenizer=bytes`.

    def __post_init__(self) -> None:
        check_types(self, "decoder")

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`proposal`, and `mark_id` as the token that erases."""
        plain = stateless(lambda logits: proposal(logits, temperature, top_k, top_p))
        return plain._replace(erases=lambda token: token == self.mark_id)
