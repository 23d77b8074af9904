"""Min-p sampling: drop tokens that are much less likely than the most likely one."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Array, Float

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import proposal
from mtjax.validation import check_types


def drop_unlikely(log_probs: Float[Array, "N V"], min_p: float) -> Float[Array, "N V"]:
    """Log-probabilities of the tokens with `p >= min_p * max(p)`, normalised again."""
    least = jnp.max(log_probs, axis=-1, keepdims=True) + np.log(min_p)
    return jax.nn.log_softmax(jnp.where(log_probs >= least, log_probs, -jnp.inf), axis=-1)


@DECODERS.register("min_p")
@dataclasses.dataclass(frozen=True)
class MinP:
    """Only tokens whose probability is at least `min_p` times that of the most likely token.

    Applied after temperature, top-k and top-p. Adapts to the model's confidence: few tokens remain where it is
    certain, many where it is not.

    Source: Nguyen et al., "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs", ICLR 2025
    (arXiv 2407.01082).
    """

    min_p: Annotated[float, Gt(0), Le(1)] = 0.1
    """Smallest probability, relative to that of the most likely token; typical values are 0.05 and 0.1."""

    def __post_init__(self) -> None:
        check_types(self, "decoder")

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`drop_unlikely` after `proposal`."""
        return stateless(lambda logits: drop_unlikely(proposal(logits, temperature, top_k, top_p), self.min_p))
