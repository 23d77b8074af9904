"""Packing: several examples in one row, so that little of a row is padding; and the order in which rows come."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.errors import InputError
from mtjax.io.hashing import random_order

WINDOW = 4096  # Examples that are packed together: enough for rows to be nearly full, few enough to cost milliseconds.


class Rows(NamedTuple):
    """Which examples share which row: row r holds `members[offsets[r]:offsets[r + 1]]`."""

    members: Int[np.ndarray, " n"]  # example numbers, row after row; each example at most once
    offsets: Int[np.ndarray, " rows_and_one"]

    @property
    def number(self) -> int:
        """How many rows there are."""
        return len(self.offsets) - 1


def best_fit(lengths: Int[np.ndarray, "n sides"], row_length: int, max_segments: int) -> list[list[int]]:
    """Put examples of these lengths into rows, longest first, each where the least room would be left.

    An example of several sides (a pair) takes its own length from the room of each side: sides fill up apart, so that
    a pair with a long chosen text goes well with one whose rejected text is long. Room is counted over the sides.

    Returns the positions in `lengths` that share each row: at most `max_segments` of them, at most `row_length` tokens
    a side. Ties go to the earlier example and to the row opened last; there is no chance in it.

    >>> best_fit(np.array([[2], [5], [3], [1]]), row_length=6, max_segments=2)
    [[1, 3], [2, 0]]
    """
    number, sides = lengths.shape
    rows: list[list[int]] = []
    room = np.zeros((number, sides), np.int64)  # of the rows opened so far that can still take something
    owner = np.zeros(number, np.int64)  # which row that is
    open_rows = 0
    shortest = lengths.min(axis=0) if number else lengths
    for position in np.lexsort((np.arange(number), -lengths.sum(axis=1), -lengths.max(axis=1))):
        length = lengths[position]
        left = (room[:open_rows] - length).sum(axis=1)
        left[(room[:open_rows] < length).any(axis=1)] = np.iinfo(np.int64).max
        if open_rows and (least := left.min()) < np.iinfo(np.int64).max:
            place = open_rows - 1 - int(np.argmax(left[::-1] == least))
            rows[owner[place]].append(int(position))
            room[place] -= length
        else:
            place = open_rows
            rows.append([int(position)])
            room[place], owner[place] = row_length - length, len(rows) - 1
            open_rows += 1
        if len(rows[owner[place]]) == max_segments or (room[place] < shortest).any():
            # The order of opening is kept, for the ties.
            room[place : open_rows - 1] = room[place + 1 : open_rows]
            owner[place : open_rows - 1] = owner[place + 1 : open_rows]
            open_rows -= 1
    return rows


def first_that_fit(lengths: Int[np.ndarray, "n sides"], row_length: int, max_segments: int, rows: int) -> Rows:
    """The first examples that best fit puts into at most `rows` rows, packed; the rest is left out."""
    packed: list[list[int]] = []
    few, many = 0, len(lengths) + 1  # so many fit; so many do not
    while many - few > 1:
        tried = len(lengths) if not few and many > len(lengths) else (few + many) // 2
        found = best_fit(lengths[:tried], row_length, max_segments)
        if len(found) <= rows:
            few, packed = tried, found
        else:
            many = tried
    return _rows(packed)


def _rows(packed: Sequence[Sequence[int]]) -> Rows:
    members = np.array([member for row in packed for member in row], np.int64)
    return Rows(members, np.cumsum([0, *map(len, packed)]))


def pack(
    lengths: Int[np.ndarray, "n sides"], *, row_length: int, max_segments: int, key: tuple[int, ...], first: int = 0
) -> Rows:
    """Pack examples `first .. first + n - 1` into rows, window by window of an order drawn from `key`.

    Every example is in exactly one row. `max_segments=1` gives one example per row. Raises InputError for an example
    longer than a row, which the caller should have shortened or dropped.
    """
    if len(lengths) and int(lengths.max()) > row_length:
        raise InputError(f"an example of {int(lengths.max())} tokens does not fit a row of {row_length}; shorten it")
    order = random_order(len(lengths), *key)
    if max_segments == 1 or not len(order):
        return Rows(first + order, np.arange(len(order) + 1))
    parts = []
    for start in range(0, len(order), WINDOW):
        window = order[start : start + WINDOW]
        rows = _rows(best_fit(lengths[window], row_length, max_segments))
        parts.append(rows._replace(members=first + window[rows.members]))
    return join_rows(parts)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, in their order."""
    return Rows(np.concatenate([part.members for part in parts]), join_offsets([part.offsets for part in parts]))


def join_offsets(parts: Sequence[Int[np.ndarray, " _"]]) -> Int[np.ndarray, " n_and_one"]:
    """The offsets of arrays that are laid one after the other."""
    return np.cumsum(np.concatenate([[0], *map(np.diff, parts)]))


SHUFFLE, MIX, ONE_PASS = 1, 2, 3  # keep the keys of different draws apart


def quotas(shares: Float[np.ndarray, " sources"], size: int) -> Int[np.ndarray, " sources"]:
    """Whole numbers near `shares * size` that add up to `size`, each at least 1 (largest remainders first)."""
    exact = shares / shares.sum() * size
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    while (excess := int(counts.sum()) - size) > 0:
        counts[np.argmax(counts)] -= excess
    for source in np.argsort(np.floor(exact) - exact, kind="stable")[: size - int(counts.sum())]:
        counts[source] += 1
    return counts


def make_order(
    row_counts: Sequence[int], shares: Float[np.ndarray, " sources"], seed: int
) -> Callable[[Int[np.ndarray, " n"]], Int[np.ndarray, " n"]]:
    """The endless stream of rows: `places -> rows`, any places in any order.

    Rows are numbered source after source. The stream comes in blocks of `WINDOW` places; of each block every source
    has the same number of places (its share, to 1 / `WINDOW`), at places drawn from (seed, block). So the k-th place of
    a source is known without looking back. A source of R rows goes through all of them in places 0 .. R - 1 of its own,
    then through all again in another order, drawn from (seed, source, epoch); epochs follow each other without a gap.

    At most one block and a few epochs' orders are kept in memory.
    """
    first = np.cumsum([0, *row_counts])
    per_block = quotas(shares, WINDOW)
    owners = np.repeat(np.arange(len(row_counts)), per_block)

    @functools.lru_cache(maxsize=2)
    def block_order(block: int) -> tuple[np.ndarray, np.ndarray]:
        """For each place of the block its source, and how many places of that source come before it in the block."""
        source = owners[random_order(WINDOW, seed, MIX, block)] if len(row_counts) > 1 else owners
        rank = np.zeros(WINDOW, np.int64)
        for number, count in enumerate(per_block):
            rank[source == number] = np.arange(count)
        return source, rank

    @functools.lru_cache(maxsize=2 + 2 * len(row_counts))
    def epoch_order(source: int, epoch: int) -> np.ndarray:
        return random_order(row_counts[source], seed, SHUFFLE, source, epoch)

    def rows_at(places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        blocks, inside = np.divmod(places, WINDOW)
        source, rank = np.zeros_like(places), np.zeros_like(places)
        for block in np.unique(blocks):
            here = blocks == block
            sources, ranks = block_order(int(block))
            source[here], rank[here] = sources[inside[here]], ranks[inside[here]]
        epoch, within = np.divmod(blocks * per_block[source] + rank, np.asarray(row_counts)[source])
        rows = np.zeros_like(places)
        for number, count in np.unique(np.stack([source, epoch], axis=1), axis=0):
            here = (source == number) & (epoch == count)
            rows[here] = first[number] + epoch_order(int(number), int(count))[within[here]]
        return rows

    return rows_at
