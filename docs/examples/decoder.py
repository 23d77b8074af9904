"""Epsilon sampling: tokens below an absolute probability are never drawn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.sampling.decoders.base import DECODERS, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import proposal


@DECODERS.register("epsilon")
@dataclasses.dataclass(frozen=True)
class Epsilon:
    """Only tokens whose probability is at least `epsilon`; the most likely one always stays.

    Applied after temperature, top-k and top-p.

    Source: Hewitt et al., "Truncation Sampling as Language Model Desmoothing", EMNLP 2022, section 3 (arXiv 2210.15191).
    """

    epsilon: float = 3e-4
    """Smallest probability of a token that is drawn."""

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """See the class."""

        def log_probs(logits: jax.Array) -> jax.Array:
            before = proposal(logits, temperature, top_k, top_p)
            kept = (before >= np.log(self.epsilon)) | (before >= jnp.max(before, axis=-1, keepdims=True))
            return jax.nn.log_softmax(jnp.where(kept, before, -jnp.inf), axis=-1)

        return stateless(log_probs)
