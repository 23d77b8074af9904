"""The data report: what the data of a run came to, and what of it is refused."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.data.arrays import Counts, Index, target_count
from mtjax.data.packing import Rows, pack, sample_of
from mtjax.errors import InputError

QUANTILES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)  # Of the lengths in a report.
FEW_TOKENS = 1 << 24  # Data of so many tokens are read through for the quantiles of their targets.
EMPTY = 0.1  # Share of row positions that a larger `max_segments` must fill to be worth a note.


class Report(NamedTuple):
    """What the data came to; `str` gives one line."""

    examples: int  # after packing, in one epoch of each source
    rows: int  # of that epoch
    counts: Counts  # what was skipped, shortened or left out on the way
    tokens: int  # of all examples, padding not counted
    target_share: float  # share of them that count: weights other than 0, and not first, which is never predicted
    packing_efficiency: float  # share of row positions that hold a token; pairs have two rows
    notes: tuple[str, ...]  # sentences, such as the first record skipped and how long the examples are
    epochs: str = ""  # how many steps an epoch has, of each source
    lengths: Mapping[str, tuple[int, ...]] = MappingProxyType({})  # `QUANTILES` of tokens and targets of an example

    def __str__(self) -> str:
        counts = self.counts._asdict() | {"unknown": 0}  # not examples; a note has them
        left_out = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)
        return (
            f"{self.examples:,} examples in {self.rows:,} rows ({self.packing_efficiency:.1%} full), "
            f"{self.tokens:,} tokens, {self.target_share:.1%} targets; {left_out or 'nothing left out'}"
            + (f"; {self.epochs}" if self.epochs else "")
        )


def make_report(
    index: Index, packed: Rows, config: Any, epochs: str, more: Sequence[str] = (), *, chosen: bool = False
) -> Report:
    """The report on packed data, with `more` notes; `chosen` says that `max_segments` was chosen by their lengths.

    Raises InputError where more examples are dropped as too long than `data.max_dropped` allows, or more targets are
    unknown tokens than `data.max_unknown`.
    """
    length, counts = config.sequence_length, index.counts
    tokens, full = len(index.tokens), len(index.tokens) / (packed.number * index.sides * length)
    shortened = counts.dropped + counts.truncated > 0
    lengths = length_note(index, length, config.truncation) if shortened else ""
    made = len(index.ids) + counts.made
    if counts.dropped > config.max_dropped * made:
        raise InputError(
            f"{counts.dropped:,} of {made:,} examples are dropped, more than data.max_dropped={config.max_dropped:g}: "
            f"{lengths}; or pass --data.max_dropped=1 to train without them"
        )
    targets = target_count(index)
    unknown = f"{counts.unknown:,} of {targets:,} targets are the tokenizer's unknown token"
    if counts.unknown > config.max_unknown * targets:
        raise InputError(
            f"{unknown}, more than data.max_unknown={config.max_unknown:g}: characters of the text are not in its "
            "vocabulary, and the model would learn to write the unknown token; choose another tokenizer, or pass "
            "--data.max_unknown=1 to train them"
        )
    own = [*index.notes, *more, *([lengths] if shortened else []), *([unknown] if counts.unknown else [])]
    if chosen:
        own.append(f"data.max_segments=auto takes up to {config.segments} examples in a row")
    if config.pack and full < 1 - EMPTY and (better := segments_note(index, packed, length, config.segments)):
        own.append(better)
    needed = index.lengths.max(axis=1) if index.needed is None else np.asarray(index.needed)
    sizes = {"tokens, before truncation": needed}
    if tokens <= FEW_TOKENS:  # else all weights would have to be read
        offsets, counted = np.asarray(index.offsets), np.asarray(index.weights) != 0
        counted[offsets[:-1][np.diff(offsets) > 0]] = False  # a side of a group may have no token at all
        until = np.concatenate([[0], np.cumsum(counted)])
        per_sequence = np.diff(until[offsets]).reshape(-1, index.sides)
        sizes["targets"] = per_sequence.max(axis=1)
    quantiles = {name: tuple(int(np.ceil(q)) for q in np.quantile(size, QUANTILES)) for name, size in sizes.items()}
    share = targets / max(tokens, 1)
    return Report(len(index.ids), packed.number, counts, tokens, share, full, tuple(own), epochs, quantiles)


def length_note(index: Index, length: int, truncation: str = "drop") -> str:
    """How long the examples are before `data.truncation`, and which length to set."""
    needed = index.lengths.max(axis=1) if index.needed is None else np.asarray(index.needed)
    median, most, longest = (int(np.ceil(value)) for value in np.quantile(needed, [0.5, 0.9, 1]))
    over = int(np.sum(needed > length))
    text = f"{over:,} examples are longer than data.sequence_length={length}"
    return (
        f"{text} (median {median:,} tokens, 90 % up to {most:,}, longest {longest:,}): set data.sequence_length="
        f"{longest} to keep all"
        + (f", {most} to keep 90 %" if length < most < longest else "")
        + (", or data.truncation=left or keep to shorten them" if truncation == "drop" else "")
    )


def segments_note(index: Index, packed: Rows, length: int, segments: int) -> str:
    """What a larger `data.max_segments` would give, where that limit leaves rows empty; else "" """
    if np.mean(np.diff(np.asarray(packed.offsets)) >= segments) < EMPTY:
        return ""
    some = index.lengths_of(sample_of(len(index.ids)))
    limited, free = (pack(some, row_length=length, max_segments=most, key=(0,)) for most in (segments, length))
    gain = float(some.sum()) / (index.sides * length) * (1 / free.number - 1 / limited.number)
    if gain < EMPTY:
        return ""
    return (
        f"data.max_segments={segments} fills rows before their length does; data.max_segments="
        f"{int(np.diff(free.offsets).max())} would fill {gain:.0%} more of them "
        "(auto chooses such a number)"
    )


def repeats_of(row_counts: Sequence[int], shares: Float[np.ndarray, " sources"], batch_size: int) -> np.ndarray:
    """How often each source's rows stand in one batch, on average: above 1, a batch holds copies of one row."""
    return shares / shares.sum() * batch_size / np.asarray(row_counts)


def check_repeats(repeats: np.ndarray, row_counts: Sequence[int], batch_size: int, most: int) -> str:
    """How long an epoch is, and how often rows repeat; InputError above `most` copies of a row in one batch."""
    worst = int(np.argmax(repeats))
    of = f" of source {worst}" if len(row_counts) > 1 else ""
    if repeats[worst] > most:
        rows = row_counts[worst]
        smaller = max(int(batch_size * most / repeats[worst]), 1)
        way_out = f"lower the batch size to {smaller} (--batch_size={smaller})"
        if of:
            way_out += ", give that source a smaller weight"
        raise InputError(
            f"the {rows:,} rows{of} stand {repeats[worst]:.3g} times each in one batch of {batch_size}, more than "
            f"data.max_repeats={most}: {way_out}, bring more data, or pass --data.max_repeats="
            f"{int(np.ceil(repeats[worst]))}"
        )
    listed = ", ".join(f"{1 / value:.4g}" for value in repeats)
    copies = f", each row {repeats[worst]:.3g} times in a batch" if repeats[worst] > 1 and not of else ""
    return f"one epoch{' of each source' if of else ''} is {listed} step{'' if listed == '1' else 's'}{copies}"
