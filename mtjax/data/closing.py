"""Prompts for a model with an encoder: the end token closes them, and both sides of it are tokenised apart (T5).

A tokenizer with `closing` writes a text as `prompt </s> answer`. The token goes behind the prompt of a task, or where a
template has it: with `"{question}</s>"` the rest of the prompt, such as the prefix of mistake tuning, begins what the
decoder writes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mtjax.data.encoding import Encoding, Encodings
from mtjax.data.tasks.base import Rendered, Span
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


def with_closed_prompts(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer for a model with an encoder, whose prompts its end token closes; InputError if that is plain text.

    >>> from mtjax.data.tokenizer import load_tokenizer
    >>> tokenizer = with_closed_prompts(load_tokenizer("arithmetic"))
    >>> tokenizer.encode(f"1 + 2 ={tokenizer.closing}3").ids == [1, 10, 2, 14, tokenizer.end_id, 3]
    True
    """
    if tokenizer.closing is not None:
        return tokenizer
    closing = tokenizer.decode([tokenizer.end_id])
    if closing not in tokenizer.special:
        raise InputError(
            f"tokenizer {tokenizer.name!r}: its end token {closing!r} is not a special token, so it cannot close the "
            "prompts of a model with an encoder; mark it as special in tokenizer.json"
        )
    encode = ApartEncoder(tokenizer.encode, closing, tokenizer.end_id)
    return tokenizer._replace(
        encode=encode, decode=ApartDecoder(tokenizer.decode, closing, tokenizer.end_id), closing=closing
    )


class ApartEncoder:
    """Encodes the texts between closing tokens each on its own, as `tokenizer(prompt)` and `tokenizer(answer)` do."""

    def __init__(self, inner: Callable[[str], Encoding], closing: str, end_id: int):
        self.inner, self.closing, self.end_id = inner, closing, end_id

    def __call__(self, text: str) -> Encoding:
        """The tokens of a text, with offsets in it."""
        ids, offsets = list[int](), list[tuple[int, int]]()
        start = 0
        for number, part in enumerate(text.split(self.closing)):
            if number:
                ids.append(self.end_id)
                offsets.append((start, start + len(self.closing)))
                start += len(self.closing)
            found = self.inner(part)
            ids += found.ids
            offsets += [(begin + start, end + start) for begin, end in found.offsets]
            start += len(part)
        return Encoding(ids, offsets)

    def batch(self, texts: Sequence[str]) -> Encodings:
        """The tokens of many texts; see `mtjax.data.encoding.Encoder.batch`."""
        parts = [text.split(self.closing) for text in texts]
        found: Encodings = self.inner.batch([part for own in parts for part in own])  # type: ignore[attr-defined]
        ends, place, ids, offsets, sizes = np.cumsum(found.sizes), 0, list[Any](), list[Any](), list[int]()
        for own in parts:
            start, size = 0, 0
            for number, part in enumerate(own):
                if number:
                    ids.append([self.end_id])
                    offsets.append([(start, start + len(self.closing))])
                    start, size = start + len(self.closing), size + 1
                tokens = slice(int(ends[place] - found.sizes[place]), int(ends[place]))
                ids.append(found.ids[tokens])
                offsets.append(found.offsets[tokens] + start)
                start, size, place = start + len(part), size + int(found.sizes[place]), place + 1
            sizes.append(size)
        joined = np.concatenate([np.zeros((0, 2), np.int64), *(np.reshape(each, (-1, 2)) for each in offsets)])
        return Encodings(
            np.concatenate([np.zeros(0, np.int32), *ids]).astype(np.int32), joined, np.array(sizes, np.int64)
        )


class ApartDecoder:
    """Decodes the ids between closing tokens each on its own: some tokenizers put a space behind a special token."""

    def __init__(self, inner: Callable[[Sequence[int]], str], closing: str, end_id: int):
        self.inner, self.closing, self.end_id = inner, closing, end_id

    def _parts(self, ids: Sequence[int]) -> list[list[int]]:
        parts: list[list[int]] = [[]]
        for id in ids:
            if id == self.end_id:
                parts.append([])
            else:
                parts[-1].append(int(id))
        return parts

    def __call__(self, ids: Sequence[int]) -> str:
        """The text of some ids."""
        return self.closing.join(self.inner(part) if part else "" for part in self._parts(ids))

    def batch(self, ids: list[list[int]]) -> list[str]:
        """The texts of many lists of ids."""
        parts = [self._parts(own) for own in ids]
        texts = iter(self.inner.batch([part for own in parts for part in own]))  # type: ignore[attr-defined]
        return [self.closing.join(next(texts) for _ in own) for own in parts]


def closed_prompt(text: str, closing: str) -> str:
    """A prompt with the closing token in it, at its end if it is nowhere; InputError if it is there twice."""
    count = text.count(closing)
    if count > 1:
        raise InputError(
            f"the prompt {text!r:.80} has {closing!r} {count} times; expected once, where the encoder's part ends: "
            "take the others out of the text or the template"
        )
    return text if count else text + closing


def closed(rendered: Rendered, tokenizer: Tokenizer) -> Rendered:
    """A rendering whose prompt is closed; as it is, for a tokenizer without closing token.

    Raises InputError for targets in the part that the encoder reads, which predicts nothing.
    """
    if (closing := tokenizer.closing) is None:
        return rendered
    end = rendered.prompt_end
    prompt = closed_prompt(rendered.text[:end], closing)
    border, moved = prompt.index(closing), len(prompt) - end
    if early := [span for span in rendered.spans if span.weight and span.start < min(border, span.end)]:
        where = rendered.text[slice(*early[0][:2])]
        raise InputError(
            f"{where!r:.60} of {rendered.name!r} is a target, but the encoder reads it and predicts nothing: with an "
            "encoder, set data.task.loss_on=rationale (mistake), data.task.targets=last (conversations) or "
            f"data.task.prompt_weight=0 (triplet); or write {closing!r} into the template, where the decoder's part "
            "begins"
        )
    # With the token at the end of the prompt, what begins there comes after it.
    shift = lambda place: place + moved if place >= end else place
    return rendered._replace(
        text=prompt + rendered.text[end:],
        prompt_end=len(prompt),
        spans=tuple(Span(shift(span.start), shift(span.end), span.weight) for span in rendered.spans),
        steps=None if rendered.steps is None else tuple(map(shift, rendered.steps)),
    )
