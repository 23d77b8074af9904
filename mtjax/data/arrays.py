"""The index: every example of a source as flat arrays, in memory or in files of the cache."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mtjax.data.stored import Column, Joined, Names, blocks


class Counts(NamedTuple):
    """What became of a source's records on the way to examples."""

    skipped: int = 0  # records that could not be read
    unused: int = 0  # problems without anything that the task renders
    truncated: int = 0  # examples made shorter to fit, and trained
    dropped: int = 0  # examples left out because they do not fit
    targetless: int = 0  # examples left out because no token of them (or of one side of a pair) counts
    identical: int = 0  # pairs left out because both sides are the same tokens: nothing could be learnt from them
    unknown: int = 0  # targets that are the tokenizer's unknown token, in all examples

    @property
    def made(self) -> int:
        """Examples that were left out after they were made."""
        return self.dropped + self.targetless + self.identical


class Index(NamedTuple):
    """Examples as flat arrays: 8 bytes a token and about 100 an example, in memory or in files (`mtjax.data.stored`).

    An example is one sequence, or as many as a task has sides: a pair is two, the chosen one first. Sequence
    `e * sides + side` belongs to example e and holds tokens `offsets[q] .. offsets[q + 1] - 1`, where q is its number.
    """

    ids: Sequence[str]  # name of each example
    sides: int  # sequences per example
    tokens: Column  # int32, of all sequences, one after the other
    weights: Column  # float32, one per token
    offsets: Column  # int64, one per sequence and one more
    per_sequence: dict[str, Column]  # by name: "polarity" (1 right, 0 wrong) and what the task adds
    per_token: dict[str, Column]  # by name, such as "step_ids"
    counts: Counts  # what was left out or shortened
    notes: tuple[str, ...]  # what there is to report, such as the first record that was skipped
    needed: Column | None = None  # int32: tokens of each example, its longest side, before `data.truncation`
    targets: int | None = None  # tokens with a weight that are predicted; None: not counted yet
    content: str | None = None  # `content_digest`, where it is known

    def lengths_of(self, examples: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n sides"]:
        """Tokens of some examples, side by side."""
        sequence = examples[:, None] * self.sides + np.arange(self.sides)
        flat = sequence.ravel()
        return np.asarray(self.offsets[flat + 1] - self.offsets[flat]).reshape(sequence.shape)

    @property
    def lengths(self) -> Int[np.ndarray, "n sides"]:
        """Tokens of each example, side by side."""
        return np.diff(np.asarray(self.offsets)).reshape(-1, self.sides)


def join_indices(parts: Sequence[Index]) -> Index:
    """The examples of all parts, in their order; counts are added. All parts must come from one task."""
    if len(parts) == 1:
        return parts[0]
    bases = np.cumsum([0, *(len(part.tokens) for part in parts)]).tolist()
    numbers = list(dict.fromkeys(name for part in parts for name in part.per_sequence))
    absent = [np.zeros(len(part.offsets) - 1, np.float32) for part in parts]  # a sequence without a number counts 0
    ends = [*(len(part.offsets) - 1 for part in parts[:-1]), len(parts[-1].offsets)]
    counted = [target_count(part) for part in parts]
    return Index(
        ids=_join_names([part.ids for part in parts]),
        sides=parts[0].sides,
        tokens=Joined([part.tokens for part in parts]),
        weights=Joined([part.weights for part in parts]),
        offsets=Joined([part.offsets for part in parts], bases[:-1], ends),
        per_sequence={
            name: Joined([part.per_sequence.get(name, zero) for part, zero in zip(parts, absent, strict=True)])
            for name in numbers
        },
        per_token={name: Joined([part.per_token[name] for part in parts]) for name in parts[0].per_token},
        counts=Counts(*map(sum, zip(*(part.counts for part in parts), strict=True))),
        notes=tuple(note for part in parts for note in part.notes),
        needed=Joined([part.lengths.max(axis=1) if part.needed is None else part.needed for part in parts]),
        targets=sum(counted),
    )


def _join_names(parts: Sequence[Sequence[str]]) -> Sequence[str]:
    if all(isinstance(part, list) for part in parts):
        return [name for part in parts for name in part]
    names = [Names.of(part) for part in parts]
    bases = np.cumsum([0, *(len(part.text) for part in names)]).tolist()
    return Names(Joined([part.text for part in names]), Joined([part.ends for part in names], bases[:-1]))


def target_count(index: Index) -> int:
    """Tokens that have a weight and are not first in their sequence, which is never predicted."""
    if index.targets is not None:
        return index.targets
    counted = np.asarray(index.weights) != 0
    offsets = np.asarray(index.offsets)
    counted[offsets[:-1][np.diff(offsets) > 0]] = False  # a side of a group may have no token at all
    return int(counted.sum())


def content_digest(index: Index) -> str:
    """A digest (hex) of all that training reads of the examples: names, tokens, weights and the task's numbers."""
    made = hashlib.blake2b(digest_size=8)
    some: list[str] = []
    opened = False
    for name in index.ids:
        some.append(name)
        if len(some) == 65_536:
            made.update((b"\0" if opened else b"") + "\0".join(some).encode("utf-8", "surrogatepass"))
            some, opened = [], True
    if some:
        made.update((b"\0" if opened else b"") + "\0".join(some).encode("utf-8", "surrogatepass"))
    arrays: dict[str, dict[str, Any]]
    arrays = {"": {"tokens": index.tokens, "weights": index.weights, "offsets": index.offsets}}
    for group, named in (arrays | {"sequence": index.per_sequence, "token": index.per_token}).items():
        for name, values in sorted(named.items()):
            made.update(f"\0{group}.{name} {values.dtype} {values.shape}\0".encode())
            for block in blocks(values):
                made.update(block.data)
    return made.hexdigest()
