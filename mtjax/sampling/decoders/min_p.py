"""Min-p sampling: drop tokens that are much less likely than the most likely one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import proposal


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

    min_p: float = 0.1  # smallest probability, relative to that of the most likely token

    def __post_init__(self) -> None:
        if not 0 < self.min_p <= 1:
            raise InputError(f"decoder.min_p={self.min_p}: expected more than 0, up to 1; typical values are 0.05, 0.1")

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`drop_unlikely` after `proposal`."""
        return stateless(lambda logits: drop_unlikely(proposal(logits, temperature, top_k, top_p), self.min_p))
