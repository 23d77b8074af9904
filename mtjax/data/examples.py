"""Examples: a rendered text as token ids and weights, by character offsets."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.tasks.base import Rendered
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


class Example(NamedTuple):
    """One sequence as numbers.

    Attributes:
        id: "problem/rendering", such as "gsm8k-17/right/0"; names the example in messages.
        tokens: ids, begin and end token included.
        weights: how much each token counts as a target. The first token is never predicted, so its weight is not used.
        prompt_tokens: how many tokens stand before the answer, begin token included.
        extras: numbers about the whole sequence, such as "polarity": 1 right, 0 wrong.
        per_token: integers per token, such as "step_ids": the number of the step, from 1, or 0 in front of the first.
    """

    id: str
    tokens: Int[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    prompt_tokens: int
    extras: Mapping[str, float]
    per_token: Mapping[str, np.ndarray]

    @property
    def target(self) -> float:
        """Sum of the absolute weights that reach the loss: all but the first token's."""
        return float(np.abs(self.weights[1:]).sum())


def token_weights(rendered: Rendered, offsets: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The weight of each token: that of the target characters it contains.

    A token that straddles the edge of a target belongs to it: any one of its characters decides, and of several targets
    the last. A token without characters has weight 0. Nothing is searched for; spans and offsets are all there is.
    """
    by_character = np.zeros(len(rendered.text), np.float32)
    for span in rendered.spans:
        by_character[span.start : span.end] = span.weight
    # last[c]: the last target character at or before c. A token holds a target if its last one is not before its start.
    last = np.maximum.accumulate(np.where(by_character != 0, np.arange(len(by_character)), -1))
    start, end = offsets[:, 0], offsets[:, 1]
    if not len(last):
        return np.zeros(len(offsets), np.float32)
    nearest = last[np.maximum(end - 1, 0)]
    return np.where((end > start) & (nearest >= start), by_character[nearest], np.float32(0)).astype(np.float32)


def make_example(
    rendered: Rendered, id: str, tokenizer: Tokenizer, *, boundary: Literal["raise", "allow"] = "raise"
) -> Example:
    """Tokenise a rendering: the joint text once, begin token in front unless the text has it, end token behind.

    `id` names the problem. With `boundary="raise"`, a token that lies across the end of the prompt raises InputError:
    decoding starts there and would not see the ids that training saw. With "allow" such a token is a target.
    """
    try:
        encoding = tokenizer.encode(rendered.text)
    except InputError as error:
        raise InputError(f"example {id}: {error}") from error
    tokens = np.asarray(encoding.ids, np.int32)
    offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)
    weights = token_weights(rendered, offsets)
    across = np.flatnonzero((offsets[:, 0] < rendered.prompt_end) & (offsets[:, 1] > rendered.prompt_end))
    if boundary == "raise" and len(across):
        start, end = offsets[across[0]]
        raise _boundary_error(id, f"the token {rendered.text[start:end]!r} lies across it")
    prompt_tokens = int(np.sum(offsets[:, 1] <= rendered.prompt_end))
    steps = np.searchsorted(rendered.steps or (), offsets[:, 0], side="right")
    if needs_bos(tokenizer, encoding.ids):
        tokens, weights = np.insert(tokens, 0, tokenizer.bos_id or 0), np.insert(weights, 0, 0)
        steps, prompt_tokens = np.insert(steps, 0, 0), prompt_tokens + 1
    if rendered.ends:
        tokens, weights = np.append(tokens, tokenizer.end_id), np.append(weights, 1)
        steps = np.append(steps, len(rendered.steps or ()))
    per_token = {} if rendered.steps is None else {"step_ids": steps}
    name = f"{id}/{rendered.name}"
    return Example(name, tokens.astype(np.int32), weights.astype(np.float32), prompt_tokens, rendered.extras, per_token)


def needs_bos(tokenizer: Any, ids: list[int]) -> bool:
    """Whether a begin token goes in front: the tokenizer has one, and the text does not start with it already."""
    return tokenizer.bos_id is not None and (not ids or ids[0] != tokenizer.bos_id)


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """The ids to decode from: those that stand before the answer in training, begin token included.

    Raises InputError where there are none.
    """
    ids = list(tokenizer.encode(text).ids)
    ids = [tokenizer.bos_id, *ids] if tokenizer.bos_id is not None and needs_bos(tokenizer, ids) else ids
    if not ids:
        raise InputError("a prompt is empty, and this tokenizer has no begin token: there is nothing to continue")
    return ids


def check_boundary(rendered: Rendered, example: Example, tokenizer: Tokenizer) -> None:
    """Raise InputError unless the prompt alone has the ids it has in front of the answer.

    A tokenizer may look ahead: "x \\n" at the end of a text and in front of a letter can differ.
    """
    alone = encode_prompt(tokenizer, rendered.text[: rendered.prompt_end]) if rendered.prompt_end else []
    if alone != example.tokens[: len(alone)].tolist():
        raise _boundary_error(example.id, "its ids differ when it stands alone")


def shorten(
    example: Example, length: int, policy: Literal["drop", "left", "keep"], bos_id: int | None
) -> Example | None:
    """The example in at most `length` tokens, or None where that would spoil it.

    "drop" gives None for every longer one. "left" cuts the prompt at its front, keeping a begin token; None where the
    answer alone does not fit. "keep" cuts the end off, answer and end token with it.
    """
    excess = len(example.tokens) - length
    if excess <= 0:
        return example
    if policy == "keep":
        return _only(example, np.arange(length), min(example.prompt_tokens, length))
    first = 1 if bos_id is not None and example.tokens[0] == bos_id else 0
    # One token of the prompt stays, or the answer's first token would have nothing to be predicted from.
    if policy == "drop" or excess > example.prompt_tokens - max(first, 1):
        return None
    return _only(example, np.r_[0:first, first + excess : len(example.tokens)], example.prompt_tokens - excess)


def shorten_sides(
    sides: Sequence[Example], length: int, policy: Literal["drop", "left", "keep"], bos_id: int | None
) -> tuple[Example, ...] | None:
    """All sides of an example in at most `length` tokens each, or None where one would be spoilt.

    "left" cuts the same tokens off every side, as many as the longest needs: what they share stays shared.
    """
    excess = max(len(side.tokens) for side in sides) - length
    if excess <= 0:
        return tuple(sides)
    room = [len(side.tokens) - excess if policy == "left" else length for side in sides]
    cut = [shorten(side, own, policy, bos_id) for side, own in zip(sides, room, strict=True)]
    return None if any(side is None for side in cut) else tuple(side for side in cut if side is not None)


def _only(example: Example, keep: Int[np.ndarray, " m"], prompt_tokens: int) -> Example:
    return example._replace(
        tokens=example.tokens[keep],
        weights=example.weights[keep],
        prompt_tokens=prompt_tokens,
        per_token={name: values[keep] for name, values in example.per_token.items()},
    )


def _boundary_error(id: str, why: str) -> InputError:
    return InputError(
        f"example {id}: a token must end where the prompt ends, but {why}, so decoding would not see what training "
        "saw; end the template in a line break with no space before it, or set data.boundary='allow'"
    )
