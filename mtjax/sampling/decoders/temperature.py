"""Temperature, top-k and top-p sampling: the default decoder."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless

SHORT = 256  # most likely tokens that are sorted first to find those of top-p


def first_of_largest(values: Float[Array, "N V"]) -> Int[Array, " N"]:
    """Place of the largest value of each row, the first one of several; as `argmax`, in two passes that vectorise."""
    size = values.shape[-1]
    best = jnp.max(values, axis=-1, keepdims=True)
    return jnp.min(jnp.where(values == best, jnp.arange(size), size - 1), axis=-1).astype(jnp.int32)


def least_of_top_p(logits: Float[Array, "N V"], top_p: float) -> Float[Array, "N 1"]:
    """The logit of the last token that top-p keeps: of the fewest tokens whose probability reaches `top_p`.

    The most likely tokens are sorted alone; a row whose probability they do not reach is sorted completely.
    """
    normaliser = jax.nn.logsumexp(logits, axis=-1, keepdims=True)

    def least(ordered: Array) -> tuple[Array, Array]:
        probability = jnp.exp(ordered - normaliser)
        upto = jnp.cumsum(probability, axis=-1)
        kept = jnp.where(upto - probability < top_p, ordered, jnp.inf)  # mass of the more likely ones
        return jnp.min(kept, axis=-1, keepdims=True), upto[:, -1:] >= top_p

    found, enough = least(jax.lax.top_k(logits, min(SHORT, logits.shape[-1]))[0])
    complete = lambda: jnp.where(enough, found, least(-jnp.sort(-logits, axis=-1))[0])
    return jax.lax.cond(jnp.all(enough), lambda: found, complete)


def proposal(
    logits: Float[Array, "N V"], temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Float[Array, "N V"]:
    """Log-probabilities after division by the temperature, then truncation to top_k, then to top_p.

    Tokens exactly as likely as the last one kept are kept too. Temperature 0 gives the entire probability to the most
    likely token, the first one of several.
    """
    if temperature == 0:
        return jnp.where(jnp.arange(logits.shape[-1]) == first_of_largest(logits)[:, None], 0.0, -jnp.inf)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    if top_p < 1:
        logits = jnp.where(logits >= least_of_top_p(logits, top_p), logits, -jnp.inf)
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
