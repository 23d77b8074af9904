"""Settings of an encoder, which makes an encoder-decoder of a decoder (T5)."""

import dataclasses
import math
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True)
class Encoder:
    """The encoder in front of a decoder, and what both then have in common.

    A row still holds prompt and answer: its tokens up to the first `end_id` of a segment are read by the encoder, those
    after it are written by the decoder. See docs/decisions/an_encoder_reads_the_prompt.md.
    """

    layers: PositiveInt = 3  # Blocks of the encoder; their sizes are those of the decoder.
    buckets: Annotated[int, Ge(4)] = 32  # Buckets of the relative position bias, even.
    max_distance: PositiveInt = 128  # Tokens from which on all distances are in the last bucket.
    gated: bool = True  # The MLP has a gate (T5 v1.1); otherwise it is `down(act(up x))` (T5 v1.0).
    scale_outputs: bool = False  # Hidden states are multiplied by `D^-0.5` before the head (T5 v1.0).
    end_id: Annotated[int, Ge(0)] = 1  # Token that closes the prompt; a run takes the tokenizer's end token.
    start_id: Annotated[int, Ge(0)] = 0  # Token that the decoder starts from; a new model takes the padding token.
    init_factor: Annotated[float, Gt(0), Lt(math.inf)] = 1.0
    """Multiplies the standard deviations of initial matrices, which are those of T5."""

    def __post_init__(self) -> None:
        check_types(self, "model.encoder")
        if self.buckets % 2:
            raise InputError(
                f"model.encoder.buckets={self.buckets}: half of them are for keys on the right, so it must be even"
            )
        if self.max_distance <= self.buckets // 2:
            raise InputError(
                f"model.encoder.max_distance={self.max_distance}: the first {self.buckets // 2} distances have a "
                f"bucket each (model.encoder.buckets={self.buckets}), so it must be larger; raise it"
            )
