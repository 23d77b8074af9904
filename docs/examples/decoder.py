"""Epsilon sampling: drop tokens below a fixed probability."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import proposal


def drop_below(log_probs: Float[Array, "N V"], epsilon: float) -> Float[Array, "N V"]:
    """Renormalised log-probabilities of the tokens with `p >= epsilon`; the most likely token is always kept."""
    most = jnp.max(log_probs, axis=-1, keepdims=True)
    return jax.nn.log_softmax(jnp.where(log_probs >= jnp.minimum(jnp.log(epsilon), most), log_probs, -jnp.inf), axis=-1)


@DECODERS.register("epsilon")
@dataclasses.dataclass(frozen=True)
class Epsilon:
    """Keep only tokens whose probability is at least `epsilon`, after temperature, top-k and top-p.

    Source: Hewitt et al., "Truncation Sampling as Language Model Desmoothing", 2022, section 4 (arXiv 2210.15191).
    """

    epsilon: float = 3e-4  # Smallest probability of a token.

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`drop_below` after `proposal`."""
        return stateless(lambda logits: drop_below(proposal(logits, temperature, top_k, top_p), self.epsilon))
