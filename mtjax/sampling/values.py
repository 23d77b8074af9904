"""What a model says at the last token of texts: the hidden state there, and its value head."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mtjax.distributed.placement import read_whole
from mtjax.errors import InputError
from mtjax.sharing import shared
from mtjax.types import LanguageModel, Params

SHORTEST = 64  # tokens of the shortest rows that are compiled; longer ones are powers of two


@shared()
def _program(model: LanguageModel) -> Any:
    """`(params, tokens [N, T], lengths [N]) -> [N]`: the value head at the last token of each row, compiled."""

    return jax.jit(lambda params, *texts: model.value(params, last_hidden(model, params, *texts)))  # type: ignore[misc]


def last_hidden(
    model: LanguageModel, params: Params, tokens: Int[Array, "N T"], lengths: Int[Array, " N"]
) -> Float[Array, "N D"]:
    """The hidden state at the last token of each row, which has so many tokens and then padding."""
    segments = (jnp.arange(tokens.shape[1]) < lengths[:, None]).astype(jnp.int32)
    hidden = model.hidden(params, tokens, segments)
    return jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]


def padded(
    texts: Sequence[Sequence[int]], rows: int, most: int, pad_id: int
) -> tuple[Int[np.ndarray, "N T"], Int[np.ndarray, " N"]]:
    """Texts of at least one token as `rows` rows and their lengths; rows without a text have length 1.

    Rows are as long as the next power of two, from 64 and at most `most`, so that few programs are compiled.
    """
    width = min(most, max(SHORTEST, 1 << (max(map(len, texts)) - 1).bit_length()))
    tokens, lengths = np.full((rows, width), pad_id, np.int32), np.ones(rows, np.int32)
    for row, ids in enumerate(texts):
        tokens[row, : len(ids)], lengths[row] = ids, len(ids)
    return tokens, lengths


def values_of(
    model: LanguageModel, params: Params, texts: Sequence[Sequence[int]], *, rows: int = 16, pad_id: int = 0
) -> list[float]:
    """The value head at the last token of each text, given as token ids; from -1 (ends wrong) to 1 (ends right).

    Raises:
        InputError: a model without a value head; an empty text; one that is longer than the model reads.
    """
    if model.value is None:
        raise InputError(
            "the model has no value head: train one with model.value_head:value_head and objective:alphamath"
        )
    most = model.config.max_length
    lengths = [len(ids) for ids in texts]
    if texts and not 1 <= min(lengths) <= max(lengths) <= most:
        raise InputError(f"texts of {min(lengths)} to {max(lengths)} tokens: expected 1 to {most}")
    found: list[float] = []
    for first in range(0, len(texts), rows):
        part = texts[first : first + rows]
        values = _program(model)(params, *padded(part, rows, most, pad_id))
        found += read_whole(values)[: len(part)].astype(float).tolist()
    return found
