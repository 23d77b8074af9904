"""Repetition penalty: make tokens that the answer already holds less likely."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Bool, Float

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions
from mtjax.sampling.decoders.temperature import proposal
from mtjax.validation import check_types


def penalised(logits: Float[Array, "N V"], drawn: Bool[Array, "N V"], penalty: float) -> Float[Array, "N V"]:
    """Logits of tokens that were drawn before, divided by the penalty if positive and multiplied by it otherwise."""
    return jnp.where(drawn, jnp.where(logits > 0, logits / penalty, logits * penalty), logits)


@DECODERS.register("repetition_penalty")
@dataclasses.dataclass(frozen=True)
class RepetitionPenalty:
    """Lower the logits of tokens that were drawn before in the same answer, ahead of temperature, top-k and top-p.

    Tokens of the prompt are not penalised, so that an answer may copy numbers from its question.

    Source: Keskar et al., "CTRL: A Conditional Transformer Language Model for Controllable Generation", 2019
    (arXiv 1909.05858), section 4.1.
    """

    penalty: Annotated[float, Ge(1)] = 1.2  # 1 changes nothing; the paper uses 1.2

    def __post_init__(self) -> None:
        check_types(self, "decoder")

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`proposal` of the penalised logits; the state marks the tokens that each row has drawn."""
        return DecoderFunctions(
            init=lambda rows, vocabulary: jnp.zeros((rows, vocabulary), bool),
            step=lambda logits, drawn: (
                proposal(penalised(logits, drawn, self.penalty), temperature, top_k, top_p), drawn
            ),
            observe=lambda token, drawn: drawn.at[jnp.arange(token.shape[0]), token].set(True),
        )  # fmt: skip
