"""Examples: a rendered text as token ids and weights, by character offsets."""

import bisect
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.closing import closed, closed_prompt
from mtjax.data.encoding import Encoding, continuation, encode_apart
from mtjax.data.special_tokens import unshield
from mtjax.data.step_values import step_values
from mtjax.data.tasks.base import Rendered, Sampled
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError

Truncation = Literal["drop", "left", "keep"]
"""An example longer than a row: leave it out, cut the front of its prompt, or cut off its end (and train it)."""

Boundary = Literal["split", "raise", "allow"]
"""A token that lies across the end of the prompt, as of a line break and the indent of code after it: tokenise prompt
and answer apart, as decoding does; stop; or train the token with the answer."""


class Example(NamedTuple):
    """One sequence as numbers."""

    id: str  # "problem/rendering", such as "gsm8k-17/right/0"; names the example in messages
    tokens: Int[np.ndarray, " n"]  # ids, begin and end token included
    weights: Float[np.ndarray, " n"]  # of each token as a target; the first is never predicted, its weight not used
    prompt_tokens: int  # how many tokens stand before the answer, begin token included
    extras: Mapping[str, float]  # numbers about the sequence, such as "polarity": 1 right, 0 wrong
    per_token: Mapping[str, np.ndarray]
    """Numbers per token, such as "step_ids" (from 1, or 0 before the first step): int32, or float32 of such with
    fractions."""
    head_tokens: int = 0  # tokens at the start that `shorten` keeps
    unknown: int = 0  # targets that are the unknown token
    misspelt: str = ""  # the first target whose tokens decode to another text, in words; "" if all are exact

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


def make_example(rendered: Rendered, id: str, tokenizer: Tokenizer, *, boundary: Boundary = "split") -> Example:
    """Tokenise a rendering: the joint text once, begin token before it unless the text has it, end token after it.

    `id` names the problem. Decoding starts at the end of the prompt, so where a token lies across it, decoding would
    not see the ids that training saw. With `boundary="split"` prompt and answer are then tokenised apart, with "raise"
    this raises InputError, and with "allow" the token is a target.
    """
    try:
        if rendered.sampled is not None and rendered.sampled.ids:
            return sampled_example(rendered, id, tokenizer)
        rendered = closed(rendered, tokenizer)
        places = (*rendered.starts, rendered.prompt_end) if boundary == "split" and rendered.prompt_end else ()
        encoding = encode_apart(tokenizer, rendered.text, places)
    except InputError as error:
        raise InputError(f"example {id}: {error}") from error
    across = next(((start, end) for start, end in encoding.offsets if start < rendered.prompt_end < end), None)
    if boundary != "allow" and across:
        token = unshield(rendered.text[slice(*across)], tokenizer.special)
        raise _boundary_error(id, f"the token {token!r} lies across it")
    example = _example(rendered, id, tokenizer, encoding)
    return example if rendered.sampled is None else _with_numbers(example, rendered.sampled)


def sampled_example(rendered: Rendered, id: str, tokenizer: Tokenizer) -> Example:
    """The tokens of the prompt, and behind them those that were drawn: targets from where the rendering's span begins.

    Tokens of the answer's text may be others, and then recorded log-probabilities would not be theirs. Raises
    InputError for tokens that do not decode to the text, as those of another tokenizer.
    """
    ids = list(rendered.sampled.ids) if rendered.sampled else []
    told, prompt = rendered.text[rendered.prompt_end :], encode_prompt(tokenizer, rendered.text[: rendered.prompt_end])
    told = unshield(told, tokenizer.special).strip()
    known = all(0 <= each < tokenizer.vocab_size for each in ids)
    read = tokenizer.decode(ids[:-1] if ids[-1] == tokenizer.end_id else ids).strip() if known else ""
    if not known or not (told.startswith(read) or read.startswith(told)):
        what = f"decode to {read!r:.60}" if known else f"are not all below {tokenizer.vocab_size}"
        raise InputError(
            f"its recorded tokens {what}, and its text is {told!r:.60}: were they made with another tokenizer than "
            f"{tokenizer.name!r}? Leave out the tokens and log-probabilities, or set data.tokenizer"
        )
    tokens = np.array([*prompt, *ids], np.int32)
    weights = np.r_[np.zeros(len(prompt)), np.ones(len(ids))].astype(np.float32)
    example = Example(f"{id}/{rendered.name}", tokens, weights, len(prompt), rendered.extras, {})
    example = _with_numbers(example, rendered.sampled) if rendered.sampled else example
    lead = unshield(rendered.text[rendered.prompt_end : rendered.spans[0].start], tokenizer.special).lstrip()
    if lead:
        whole = lambda count: len(tokenizer.decode(ids[:count]).lstrip()) >= len(lead)
        first = bisect.bisect_left(range(len(ids) + 1), True, key=whole)
        example.weights[len(prompt) : len(prompt) + first] = 0
    return example


def _with_numbers(example: Example, sampled: Sampled) -> Example:
    """The example with the numbers of its answer's tokens; InputError unless there is one for each."""
    place, made = np.flatnonzero(example.weights[1:]) + 1, {}
    for name, values in sampled.per_token.items():
        if len(values) != len(place):
            raise InputError(
                f"example {example.id}: {len(values)} recorded {name} for {len(place)} tokens of the answer, an end "
                "token included; record the tokens too (`completion_ids`), or leave the log-probabilities out"
            )
        made[name] = np.zeros(len(example.tokens), np.float32)
        made[name][place] = values
    return example._replace(per_token={**example.per_token, **made})


def _example(rendered: Rendered, id: str, tokenizer: Tokenizer, encoding: Encoding) -> Example:
    """The tokens of a rendering as an example."""
    tokens = np.asarray(encoding.ids, np.int32)
    offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)
    weights = token_weights(rendered, offsets)
    unknown = int(np.sum((tokens == tokenizer.unknown_id) & (weights != 0))) if tokenizer.unknown_id is not None else 0
    prompt_tokens, head = (int(np.sum(offsets[:, 1] <= place)) for place in (rendered.prompt_end, rendered.head))
    steps = np.searchsorted(rendered.steps or (), offsets[:, 0], side="right")
    values = step_values(steps, rendered.values)
    if _needs_bos(tokenizer, encoding.ids):
        tokens, weights, steps = (
            np.insert(tokens, 0, tokenizer.bos_id or 0),
            np.insert(weights, 0, 0),
            np.insert(steps, 0, 0),
        )
        prompt_tokens, head = prompt_tokens + 1, head + 1
        values = {name: np.insert(each, 0, 0) for name, each in values.items()}
    if rendered.ends:
        tokens, weights = np.append(tokens, tokenizer.end_id), np.append(weights, 1)
        steps = np.append(steps, len(rendered.steps or ()))
        values = {name: np.append(each, np.float32(0)) for name, each in values.items()}
    per_token = ({} if rendered.steps is None else {"step_ids": steps}) | values
    return Example(
        f"{id}/{rendered.name}",
        tokens.astype(np.int32),
        weights.astype(np.float32),
        prompt_tokens,
        rendered.extras,
        per_token,
        head if rendered.head else 0,
        unknown,
        misspelt(rendered, tokenizer, encoding),
    )


def misspelt(rendered: Rendered, tokenizer: Any, encoding: Encoding) -> str:
    """The first target whose tokens do not decode to its text, as "'a' became 'b'"; "" if they all do.

    Tokens are decoded after those before them, because some tokenizers drop a space at the start of a text.
    """
    text, ids = unshield(rendered.text, tokenizer.special), encoding.ids
    starts, ends = np.asarray(encoding.offsets, np.int64).reshape(-1, 2).T
    edges = {edge for span in rendered.spans for edge in (span.start, span.end)}
    if tokenizer.decode(ids) == text and not any(np.any((starts < edge) & (ends > edge)) for edge in edges):
        return ""
    for span in rendered.spans:
        inside = np.flatnonzero((ends > span.start) & (starts < span.end))
        if span.weight == 0 or span.start == span.end:
            continue
        first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
        found, expected = continuation(tokenizer.decode, ids[:first], ids[first:last]), text[span.start : span.end]
        if found != expected:
            place = len(os.path.commonprefix([found, expected]))
            part = slice(max(place - 10, 0), place + 20)
            return f"{expected[part]!r} became {found[part]!r}"
    return ""


def _needs_bos(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether a begin token goes before a text: the tokenizer has one, and the text does not start with it already."""
    return tokenizer.bos_id is not None and (not ids or ids[0] != tokenizer.bos_id)


def encode_prompt(tokenizer: Any, text: str) -> list[int]:
    """The ids to decode from, as before the answer in training, begin token included; InputError if there are none.

    For a model with an encoder, the prompt is closed as in training.
    """
    text = text if tokenizer.closing is None else closed_prompt(text, tokenizer.closing)
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
        "saw; set data.boundary='split' to tokenise prompt and answer apart, or 'allow' to train such a token; where "
        "that does not help, end the template in a line break with no space before it"
    )


def shorten(
    sides: Sequence[Example], length: int, policy: Truncation, bos_id: int | None, closing_id: int | None = None
) -> list[Example] | None:
    """The sides of an example in at most `length` tokens each, or None if one would be spoilt.

    "drop" gives None if a side is longer. "left" cuts as many tokens off the front of every side's prompt as the
    longest needs, so what they share stays shared, and keeps a begin token and a system message; None if an answer
    does not fit beside these.
    "keep" cuts the ends off, answer and end token with them. The token `closing_id` that closes a prompt for an encoder
    is not cut off its front.
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
            first = max(side.head_tokens, int(bos_id is not None and side.tokens[0] == bos_id))
            last = side.tokens[: side.prompt_tokens].tolist().index(closing_id) if closing_id is not None else -1
            if excess > (side.prompt_tokens - max(first, 1) if closing_id is None else last - first):
                return None
            kept, prompt_tokens = np.r_[0:first, first + excess : len(side.tokens)], side.prompt_tokens - excess
        per_token = {name: values[kept] for name, values in side.per_token.items()}
        cut.append(
            side._replace(
                prompt_tokens=prompt_tokens, tokens=side.tokens[kept], weights=side.weights[kept], per_token=per_token
            )
        )
    return cut
