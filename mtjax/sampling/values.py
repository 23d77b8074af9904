"""What a value head says of texts: its value at the last token of each."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.distributed.placement import read_whole
from mtjax.errors import InputError
from mtjax.sharing import shared
from mtjax.types import LanguageModel, Params

SHORTEST = 64  # tokens of the shortest rows that are compiled; longer ones are powers of two


@shared()
def _program(model: LanguageModel) -> Any:
    """`(params, tokens [N, T], lengths [N]) -> [N]`: the value head at the last token of each row, compiled."""

    def run(params: Any, tokens: Any, lengths: Any) -> Any:
        segments = (jnp.arange(tokens.shape[1]) < lengths[:, None]).astype(jnp.int32)
        hidden = model.hidden(params, tokens, segments)
        last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]
        return model.value(params, last)  # type: ignore[misc]

    return jax.jit(run)


def values_of(
    model: LanguageModel, params: Params, texts: Sequence[Sequence[int]], *, rows: int = 16, pad_id: int = 0
) -> list[float]:
    """The value head at the last token of each text, given as token ids; from -1 (ends wrong) to 1 (ends right).

    Rows are padded to a power of two, so that few programs are compiled.

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
        width = min(most, max(SHORTEST, 1 << (max(map(len, part)) - 1).bit_length()))
        tokens, ends = np.full((rows, width), pad_id, np.int32), np.ones(rows, np.int32)
        for row, ids in enumerate(part):
            tokens[row, : len(ids)], ends[row] = ids, len(ids)
        found += read_whole(_program(model)(params, tokens, ends))[: len(part)].astype(float).tolist()
    return found
