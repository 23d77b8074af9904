"""NEFTune: noise on embeddings while training."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.model.attention import lengths_of


def embedding_noise(key: Any, alpha: float, segments: Any, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
    """Uniform noise in `+- alpha / sqrt(n D)`, n being the length of each token's own segment, so that packing does not
    change it; 0 at padding.

    Source: Jain et al., "NEFTune: Noisy Embeddings Improve Instruction Finetuning", ICLR 2024 (arXiv 2310.05914).
    """
    size = alpha / jnp.sqrt(jnp.maximum(lengths_of(segments), 1) * x.shape[-1])
    size = jnp.where(segments > 0, size, 0).astype(jnp.float32)
    return (size[..., None] * jax.random.uniform(key, x.shape, minval=-1.0)).astype(x.dtype)
