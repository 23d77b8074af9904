"""Texts to token ids with character offsets, one text or many at a time."""

import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mtjax.data.special_tokens import exchange, is_shielded, literal_backend, unshield
from mtjax.errors import InputError


class Encoding(NamedTuple):
    """The tokens of one text."""

    ids: list[int]  # no special token is added; those in the text become themselves, unless they are shielded
    offsets: list[tuple[int, int]]
    """Per token the characters `[start, end)` it came from. They cover the text without a gap, in order; tokens that
    share one character (its bytes) share its span."""


class Encodings(NamedTuple):
    """The tokens of many texts, one text after the other."""

    ids: Int[np.ndarray, " n"]
    offsets: Int[np.ndarray, "n 2"]  # see `Encoding.offsets`
    sizes: Int[np.ndarray, " texts"]  # tokens of each text


class Encoder:
    """Encodes with a `tokenizers.Tokenizer`; `batch` uses all cores (`RAYON_NUM_THREADS` limits them).

    Args:
        backend: the tokenizer.
        special: its special tokens; where a text holds them shielded, they are spelled as text.
        refused: the id of a token that stands for what the vocabulary lacks, if such texts are refused.
        folds: special tokens by id that are looked for in the normalised text. Other spellings of them, such as
            `<|IM_END|>`, are text.
    """

    def __init__(self, backend: Any, special: tuple[str, ...], refused: int | None, folds: Mapping[int, str]):
        self.backend, self.special, self.refused, self.folds = backend, special, refused, folds

    @functools.cached_property
    def _literal(self) -> Any:
        return literal_backend(json.loads(self.backend.to_str()), self.special)

    def __call__(self, text: str) -> Encoding:
        """The tokens of a text; InputError for a character that the vocabulary does not hold."""
        ids, offsets, _ = self.batch([text])
        return Encoding(ids.tolist(), [(start, end) for start, end in offsets.tolist()])

    def batch(self, texts: Sequence[str]) -> Encodings:
        """The tokens of many texts; InputError if one of them has a character that the vocabulary does not hold."""
        shielded = [is_shielded(text, self.special) for text in texts]
        plain = iter(self._encode(self.backend, [t for t, there in zip(texts, shielded, strict=True) if not there]))
        other = [exchange(t, self.special) for t, there in zip(texts, shielded, strict=True) if there]
        literal = iter(self._encode(self._literal, other) if other else ())
        found = [next(literal if there else plain) for there in shielded]
        if self.folds:
            found = [self._unfolded(text, one) for text, one in zip(texts, found, strict=True)]
        chain = itertools.chain.from_iterable
        sizes = np.array([len(one) for one in found], np.int64)
        total = int(sizes.sum())
        ids = np.fromiter(chain(one.ids for one in found), np.int32, total)
        spans = np.fromiter(chain(chain(one.offsets for one in found)), np.int64, 2 * total).reshape(-1, 2)
        if self.refused is not None and len(wrong := np.flatnonzero(ids == self.refused)):
            start, stop = spans[wrong[0]]
            text = texts[int(np.searchsorted(np.cumsum(sizes), wrong[0], side="right"))]
            raise InputError(
                f"tokenizer 'arithmetic' does not know {text[start:stop]!r} at character {start} of {text!r:.80}; it "
                "holds digits, + - * =, 'Step', 'Answer' and the two default prefixes: use tokenizer 'bytes' instead"
            )
        return Encodings(ids, covering(spans, sizes, np.array([len(text) for text in texts], np.int64)), sizes)

    def _unfolded(self, text: str, found: Any) -> Any:
        """The tokens found, or where another spelling of a special token is among them, those of the text as text."""
        if is_shielded(text, self.special):
            return found
        read = zip(found.ids, found.offsets, strict=True)
        if any(id in self.folds and text[start:stop].strip() != self.folds[id] for id, (start, stop) in read):
            return self._literal.encode(exchange(text, self.special), add_special_tokens=False)
        return found

    def _encode(self, backend: Any, texts: list[str]) -> list[Any]:
        if len(texts) == 1:
            return [backend.encode(texts[0], add_special_tokens=False)]
        return backend.encode_batch(texts, add_special_tokens=False)  # type: ignore[no-any-return]


class Decoder:
    """Decodes with a `tokenizers.Tokenizer`, special tokens included."""

    def __init__(self, backend: Any):
        self.backend = backend

    def __call__(self, ids: Sequence[int]) -> str:
        """The text of some ids."""
        return self.backend.decode([int(i) for i in ids], skip_special_tokens=False)  # type: ignore[no-any-return]

    def batch(self, ids: list[list[int]]) -> list[str]:
        """The texts of many lists of ids."""
        return self.backend.decode_batch(ids, skip_special_tokens=False)  # type: ignore[no-any-return]


def continuation(decode: Callable[[Sequence[int]], str], before: Sequence[int], ids: Sequence[int]) -> str:
    """The text of `ids` where they follow `before`: decoded alone, many tokenizers drop a space at its start.

    >>> words = lambda ids: "".join(f" {i}" for i in ids)[1:]
    >>> continuation(words, [1, 2], [3, 4]), words([3, 4])
    (' 3 4', '3 4')
    """
    start, joint = decode(before), decode([*before, *ids])
    return joint[len(start) :] if joint.startswith(start) else decode(ids)


def covering(
    offsets: Int[np.ndarray, "n 2"], sizes: Int[np.ndarray, " texts"], lengths: Int[np.ndarray, " texts"]
) -> Int[np.ndarray, "n 2"]:
    """Offsets without gaps: some post-processors trim white space off, and what no other token holds is this token's.

    A token starts no later than those before it end, and one without characters ends no earlier.

    Args:
        offsets: characters `[start, end)` of each token, of all texts one after the other.
        sizes: tokens of each text.
        lengths: characters of each text.
    """
    base = np.repeat(np.cumsum(lengths) - lengths, sizes)
    start, stop = offsets[:, 0] + base, offsets[:, 1] + base
    before = np.maximum(np.concatenate([[0], np.maximum.accumulate(stop)[:-1]])[: len(stop)], base)
    stop = np.where(stop == start, np.maximum(stop, before), stop)
    return np.stack([np.minimum(start, before) - base, stop - base], axis=1)


@functools.lru_cache(maxsize=8)
def _prompt_tokens(tokenizer: Any, prompt: str, ends: tuple[int, ...]) -> Encoding:
    """The tokens of a prompt alone; the sequences of one problem share it."""
    return encode_apart(tokenizer, prompt, ends)


def encode_apart(tokenizer: Any, text: str, ends: tuple[int, ...]) -> Encoding:
    """Tokens of a text whose first are those of `text[:ends[-1]]` alone, as decoding sees them.

    These are the joint tokens, where they begin so. Otherwise the rest is tokenised apart: after a character that
    merges with nothing, for a tokenizer that puts a space in front of a text. If that does not give the text either,
    the joint tokens are returned, or where one of them lies across the end, the ones apart. At the earlier `ends`
    (of the prompts of earlier turns) the text is split only if a joint token lies across them.
    """
    joint = tokenizer.encode(text)
    if not ends:
        return joint
    *earlier, end = ends
    starts = {start for start, _ in joint.offsets}
    prompt = _prompt_tokens(tokenizer, text[:end], () if starts.issuperset(earlier) else tuple(earlier))
    rest, size = text[end:], len(prompt.ids)
    ends_there = not size or joint.offsets[:size][-1][1] <= end  # some tokens swallow the white space behind them
    if joint.ids[:size] == prompt.ids and ends_there and (size == len(joint.ids) or joint.offsets[size][0] >= end):
        return joint
    before = tokenizer.decode(prompt.ids)
    wanted = (before + unshield(rest, tokenizer.special), tokenizer.decode(joint.ids))
    other = joint
    across = any(start < end < stop for start, stop in joint.offsets)
    for mark in ("", "\n", "\x01"):
        ids, offsets = tokenizer.encode(mark + rest)
        first = next((place for place, (_, stop) in enumerate(offsets) if stop > len(mark)), len(ids))
        if first < len(ids) and offsets[first][0] < len(mark):
            continue
        moved = [(start + end - len(mark), stop + end - len(mark)) for start, stop in offsets[first:]]
        apart = Encoding([*prompt.ids, *ids[first:]], [*prompt.offsets, *moved])
        if tokenizer.decode(apart.ids) in wanted:
            return apart
        other = apart if across else joint
    return other
