"""Temperature, top-k and top-p sampling: the default decoder."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless


def proposal(
    logits: Float[Array, "N V"], temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Float[Array, "N V"]:
    """Log-probabilities after division by the temperature, then truncation to top_k, then to top_p.

    Tokens exactly as likely as the last one kept are kept too. Temperature 0 gives the entire probability to the most
    likely token, the first one of several.
    """
    if temperature == 0:
        best = jnp.argmax(logits, axis=-1, keepdims=True)
        return jnp.where(jnp.arange(logits.shape[-1]) == best, 0.0, -jnp.inf)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    if top_p < 1:
        ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
        probability = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(probability, axis=-1) - probability  # mass of the more likely ones
        least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    return jax.nn.log_softmax(logits, axis=-1)


@DECODERS.register("temperature")
@dataclasses.dataclass(frozen=True)
class Temperature:
    """Temperature, then top-k, then top-p; without further settings.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020 (arXiv 1904.09751), for top-p.
    """

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`proposal` with these settings."""
        return stateless(lambda logits: proposal(logits, temperature, top_k, top_p))
