"""Contrastive decoding: prefer what the model says after one prefix and not after the other."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Le
from jaxtyping import Array, Float

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import proposal
from mtjax.validation import check_types


def contrasted(
    logits: Float[Array, "N V"], others: Float[Array, "N V"], weight: float, plausible: float
) -> Float[Array, "N V"]:
    """`log p + weight (log p - log q)` of the tokens with `p >= plausible * max(p)`, and -inf for all others."""
    log_p, log_q = jax.nn.log_softmax(logits, axis=-1), jax.nn.log_softmax(others, axis=-1)
    kept = log_p >= jnp.max(log_p, axis=-1, keepdims=True) + np.log(plausible)
    return jnp.where(kept, log_p + weight * (log_p - log_q), -jnp.inf)


@DECODERS.register("contrastive")
@dataclasses.dataclass(frozen=True)
class Contrastive:
    """Contrast the prefixes of a mistake-tuned run: the logits move away from those after the other prefix.

    Formula: `log p + weight (log p - log q)`, p after the prefix that is asked for and q after the other one (wrong for
    right), for the tokens with `p >= plausible * max(p)`; temperature, top-k and top-p follow. Both texts are read and
    continued with the same tokens, so an answer takes two rows of the cache. Recorded log-probabilities are those of p,
    proposal log-probabilities those of the contrast.

    Source: Li et al., "Contrastive Decoding: Open-ended Text Generation as Optimization", ACL 2023 (arXiv 2210.15097),
    for the limit to plausible tokens, there with an expert and an amateur model; the sum is that of Sanchez et al.,
    "Stay on Topic with Classifier-Free Guidance", ICML 2024 (arXiv 2306.17806), with gamma = 1 + weight.
    """

    weight: Annotated[float, Ge(0)] = 1.0  # How far logits move; 0 decodes after the asked prefix alone.
    plausible: Annotated[float, Gt(0), Le(1)] = 0.1  # Least probability, relative to that of the most likely token.

    def __post_init__(self) -> None:
        check_types(self, "decoder")

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """`proposal` of what `contrasted` makes of both logits."""
        plain = stateless(lambda logits: proposal(logits, temperature, top_k, top_p))
        combine = lambda logits, others: contrasted(logits, others, self.weight, self.plausible)
        return plain._replace(combine=combine)
