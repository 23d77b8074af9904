"""Examples: a rendered text as token ids and weights, by character offsets."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.tasks.base import Rendered
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError

Truncation = Literal["drop", "left", "keep"]
"""An example longer than a row: leave it out, cut the front of its prompt, or cut off its end (and train it)."""

Boundary = Literal["raise", "allow"]
"""A token that lies across the end of the prompt: stop, or train it with the answer."""


class Example(NamedTuple):
    """One sequence as numbers."""

    id: str  # "problem/rendering", such as "gsm8k-17/right/0"; names the example in messages
    tokens: Int[np.ndarray, " n"]  # ids, begin and end token included
    weights: Float[np.ndarray, " n"]  # of each token as a target; the first is never predicted, its weight not used
    prompt_tokens: int  # how many tokens stand before the answer, begin token included
    extras: Mapping[str, float]  # numbers about the sequence, such as "polarity": 1 right, 0 wrong
    per_token: Mapping[str, np.ndarray]  # integers per token, such as "step_ids": from 1, or 0 before the first step

    @property
    def target(self) -> float:
        """Sum of the absolute weights that reach the loss: all but the first token's."""
        return float(np.abs(self.weights[1:]).sum())


def token_weights(rendered: Rendered, offsets: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The weight of each token: that of the target characters it contains.

    A token that straddles the edge of a target belongs to it: any one of its characters decides, and of several targets
    the last. A token without characters has weight 0.
    """
    by_character = np.zeros(len(rendered.text), np.float32)
    for span in rendered.spans:
        by_character[span.start : span.end] = span.weight
    if not len(by_character):
        return np.zeros(len(offsets), np.float32)
    # last[c]: the last target character at or before c. A token holds a target if its last one is not before its start.
    last = np.maximum.accumulate(np.where(by_character != 0, np.arange(len(by_character)), -1))
    start, end = offsets[:, 0], offsets[:, 1]
    nearest = last[np.maximum(end - 1, 0)]
    return np.where((end > start) & (nearest >= start), by_character[nearest], np.float32(0)).astype(np.float32)


def make_example(rendered: Rendered, id: str, tokenizer: Tokenizer, *, boundary: Boundary = "raise") -> Example:
    """Tokenise a rendering: the joint text once, begin token before it unless the text has it, end token after it.

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
    if _needs_bos(tokenizer, encoding.ids):
        tokens, weights, steps = (
            np.insert(tokens, 0, tokenizer.bos_id or 0),
            np.insert(weights, 0, 0),
            np.insert(steps, 0, 0),
        )
        prompt_tokens += 1
    if rendered.ends:
        tokens, weights = np.append(tokens, tokenizer.end_id), np.append(weights, 1)
        steps = np.append(steps, len(rendered.steps or ()))
    per_token = {} if rendered.steps is None else {"step_ids": steps}
    name = f"{id}/{rendered.name}"
    return Example(name, tokens.astype(np.int32), weights.astype(np.float32), prompt_tokens, rendered.extras, per_token)


def _needs_bos(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether a begin token goes before a text: the tokenizer has one, and the text does not start with it already."""
    return tokenizer.bos_id is not None and (not ids or ids[0] != tokenizer.bos_id)


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """The ids to decode from, as before the answer in training, begin token included; InputError if there are none."""
    ids = list(tokenizer.encode(text).ids)
    ids = [tokenizer.bos_id, *ids] if _needs_bos(tokenizer, ids) else ids
    if not ids:
        raise InputError("a prompt is empty, and this tokenizer has no begin token: there is nothing to continue")
    return ids


def check_boundary(rendered: Rendered, example: Example, tokenizer: Tokenizer) -> None:
    """InputError unless the prompt alone has the ids it has before the answer: some tokenizers look ahead."""
    alone = encode_prompt(tokenizer, rendered.text[: rendered.prompt_end]) if rendered.prompt_end else []
    if alone != example.tokens[: len(alone)].tolist():
        raise _boundary_error(example.id, "its ids differ when it stands alone")


def _boundary_error(id: str, why: str) -> InputError:
    return InputError(
        f"example {id}: a token must end where the prompt ends, but {why}, so decoding would not see what training "
        "saw; end the template in a line break with no space before it, or set data.boundary='allow'"
    )


def shorten(sides: Sequence[Example], length: int, policy: Truncation, bos_id: int | None) -> list[Example] | None:
    """The sides of an example in at most `length` tokens each, or None if one would be spoilt.

    "drop" gives None if a side is longer. "left" cuts as many tokens off the front of every side's prompt as the
    longest needs, so what they share stays shared, and keeps a begin token; None if an answer alone does not fit.
    "keep" cuts the ends off, answer and end token with them.
    """
    excess = max(len(side.tokens) for side in sides) - length
    if excess <= 0:
        return list(sides)
    if policy == "drop":
        return None
    cut = []
    for side in sides:
        kept, prompt_tokens = np.arange(len(side.tokens))[:length], min(side.prompt_tokens, length)
        if policy == "left":
            # One token of the prompt stays, or the answer's first token would have nothing to be predicted from.
            first = int(bos_id is not None and side.tokens[0] == bos_id)
            if excess > side.prompt_tokens - max(first, 1):
                return None
            kept, prompt_tokens = np.r_[0:first, first + excess : len(side.tokens)], side.prompt_tokens - excess
        per_token = {name: values[kept] for name, values in side.per_token.items()}
        cut.append(Example(side.id, side.tokens[kept], side.weights[kept], prompt_tokens, side.extras, per_token))
    return cut
