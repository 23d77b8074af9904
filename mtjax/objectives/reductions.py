"""Reductions: from a loss of each token to one `Mean`, of tokens, of texts, or over a constant.

Every framework names them differently:

| here | formula | TRL | verl | who uses it |
| --- | --- | --- | --- | --- |
| token_mean | `sum_si w l / sum_si w`, of the entire batch | dapo, cispo | token-mean | DAPO |
| sequence_mean | mean over texts of `sum_i w l / sum_i w` | grpo, sapo | seq-mean-token-mean | GRPO, GSPO |
| sequence_sum | mean over texts of `sum_i w l` | luspo | seq-mean-token-sum | REINFORCE, RLOO, NFT |
| constant | `sum_si w l / (N L)`, N texts | dr_grpo | seq-mean-token-sum-norm (by L alone) | Dr. GRPO |

Only token_mean and constant give the tokens of long and of short texts the same weight. A text without target counts
in neither sum.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.types import Batch, Mean

OverText = Callable[[Float[Array, "*B T"]], Float[Array, "*B T"]]
"""Gives every token a number of its text: the sum or the mean over its targets."""
Reduction = Literal["token_mean", "sequence_mean", "sequence_sum", "constant"]


def reduced(losses: Float[Array, "*B T"], batch: Batch, reduction: Reduction, length: base.Number = 1) -> Mean:
    """The losses of a batch's targets, weighted and reduced; see the table above.

    Args:
        losses: of each token; those without weight are not looked at.
        length: L of the reduction `constant`, such as the longest answer in tokens.
    """
    segments = jnp.asarray(batch.segments)
    weights = jnp.asarray(batch.weights, jnp.float32) * base.is_target(segments)
    weighted = jnp.where(weights != 0, weights * losses, 0)
    if reduction == "token_mean":
        return Mean(jnp.sum(weighted), jnp.sum(jnp.abs(weights)))
    count = sequences.segment_count(batch)
    texts, size = (base.segment_sum(x, segments, count) for x in (weighted, jnp.abs(weights)))
    if reduction == "sequence_mean":
        texts = texts / jnp.where(size != 0, size, 1)
    mean = sequences.mean_of(texts, size != 0)
    return Mean(mean.total, mean.count * length) if reduction == "constant" else mean


def over_texts(batch: Batch) -> dict[str, OverText]:
    """`mean` and `total` over the targets of each text by the absolute weights, given back to all of its tokens."""
    segments, count = jnp.asarray(batch.segments), sequences.segment_count(batch)
    weights = jnp.abs(jnp.asarray(batch.weights, jnp.float32)) * base.is_target(segments)
    sums = lambda x: base.segment_sum(jnp.where(weights != 0, weights * x, 0), segments, count)
    size = base.segment_sum(weights, segments, count)
    return {
        "mean": lambda x: base.spread(sums(x) / jnp.where(size != 0, size, 1), segments),
        "total": lambda x: base.spread(sums(x), segments),
    }
