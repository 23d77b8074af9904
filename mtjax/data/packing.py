"""Packing: several examples in one row, so that little of a row is padding."""

import collections
import heapq
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.errors import InputError
from mtjax.io.hashing import random_order

WINDOW = 4096  # Examples that are packed together: enough for rows to be nearly full, few enough to cost milliseconds.
TOGETHER = 32  # Windows of pairs that are packed together.
CLEARED = 64  # Pairs of a window after which rows that are closed are cleared away.
NO_ROOM = np.iinfo(np.int32).max


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
    rows = _fitted(lengths[None], row_length, max_segments)[0]
    return [rows.members[start:end].tolist() for start, end in itertools.pairwise(rows.offsets.tolist())]


def _fitted(lengths: Int[np.ndarray, "w n sides"], row_length: int, max_segments: int) -> list[Rows]:
    """Best fit in each of several windows; members are positions in their window."""
    places = np.broadcast_to(np.arange(lengths.shape[1]), lengths.shape[:2])
    order = np.lexsort((places, -lengths.sum(axis=2), -lengths.max(axis=2)))
    if lengths.shape[2] == 1:
        return [
            _rows(_best_fit_of_one_side(own[:, 0].tolist(), places.tolist(), row_length, max_segments))
            for own, places in zip(lengths, order, strict=True)
        ]
    owners = _best_fit_of_sides(np.take_along_axis(lengths, order[..., None], axis=1), row_length, max_segments)
    parts = []
    for places, owner in zip(order, owners, strict=True):
        sizes = np.bincount(owner)
        parts.append(Rows(places[np.argsort(owner, kind="stable")], np.concatenate([[0], np.cumsum(sizes)])))
    return parts


def _best_fit_of_one_side(lengths: list[int], order: list[int], row_length: int, max_segments: int) -> list[list[int]]:
    """Best fit by a heap of open rows for each room, and one number whose bits are the rooms that have one.

    A microsecond an example, whatever the number of open rows.
    """
    shortest = min(lengths, default=0)
    rows: list[list[int]] = []
    opened: dict[int, list[int]] = collections.defaultdict(list)  # by room; negative, so that the last comes first
    rooms = 0
    for position in order:
        length = lengths[position]
        if fitting := rooms >> length:
            room = length + (fitting & -fitting).bit_length() - 1
            number = -heapq.heappop(opened[room])
            if not opened[room]:
                rooms ^= 1 << room
            rows[number].append(position)
            room -= length
        else:
            number, room = len(rows), row_length - length
            rows.append([position])
        if room >= shortest and len(rows[number]) < max_segments:
            heapq.heappush(opened[room], -number)
            rooms |= 1 << room
    return rows


def _best_fit_of_sides(
    lengths: Int[np.ndarray, "w n sides"], row_length: int, max_segments: int
) -> Int[np.ndarray, "w n"]:
    """The row of each example, in the order given, by comparing all open rows, in several windows at a time.

    Room is counted over all sides, each of which must have its own. A pair costs a few microseconds where many windows
    share the cost of a step.
    """
    windows, number, sides = lengths.shape
    lengths = lengths.astype(np.int32)
    rows = np.zeros((windows, number), np.int64)
    room = np.full((sides, windows, number + 1), -1, np.int32)  # of each row; -1 where none is open
    owner = np.zeros((windows, number + 1), np.int64)  # which row that is, in the order of opening
    held = np.zeros((windows, number + 1), np.int64)  # examples in it
    here, used, made = np.arange(windows), np.zeros(windows, np.int64), np.zeros(windows, np.int64)
    shortest = lengths.min(axis=1, initial=row_length).T
    for step in range(number):
        length, top = lengths[:, step].T, int(used.max()) + 1  # the last column has no row in it yet
        fits: Any = (room[:, :, :top] >= length[:, :, None]).all(axis=0)
        left = np.where(fits, room[:, :, :top].sum(axis=0, dtype=np.int32), NO_ROOM)[:, ::-1]
        place = top - 1 - left.argmin(axis=1)
        new = ~fits[here, place]
        place[new] = used[new]
        room[:, here[new], place[new]] = row_length
        owner[here[new], place[new]], held[here[new], place[new]] = made[new], 0
        used, made = used + new, made + new
        rows[:, step] = owner[here, place]
        room[:, here, place] -= length
        held[here, place] += 1
        full = (held[here, place] == max_segments) | (room[:, here, place] < shortest).any(axis=0)
        room[:, here[full], place[full]] = -1
        if step % CLEARED == CLEARED - 1:  # closed rows are left out; the others keep their order, for the ties
            open_ones = np.argsort(room[0, :, : top + 1] < 0, axis=1, kind="stable")
            for array in (*room, owner, held):
                array[:, : top + 1] = np.take_along_axis(array[:, : top + 1], open_ones, axis=1)
            used = (room[0] >= 0).sum(axis=1)
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


def sample_of(number: int) -> Int[np.ndarray, " n"]:
    """Some of `number` examples, evenly spread, to judge all by their lengths: about 4,096."""
    return np.arange(0, number, max(number // WINDOW, 1))


def enough_segments(lengths: Int[np.ndarray, "n sides"], row_length: int) -> int:
    """The smallest multiple of 8 that, as `max_segments`, takes at most 1 % more rows than no limit.

    >>> enough_segments(np.full((600, 1), 10), row_length=100)
    16
    """
    rows_with = lambda most: pack(lengths, row_length=row_length, max_segments=most, key=(0,)).number
    free = pack(lengths, row_length=row_length, max_segments=row_length, key=(0,))
    few, many = 0, -(-int(np.diff(free.offsets).max(initial=1)) // 8)  # in eights: too few, and enough
    while many - few > 1:
        tried = (few + many) // 2
        few, many = (few, tried) if rows_with(8 * tried) <= 1.01 * free.number else (tried, many)
    return 8 * many


def _rows(packed: Sequence[Sequence[int]]) -> Rows:
    members = np.array([member for row in packed for member in row], np.int64)
    return Rows(members, np.cumsum([0, *map(len, packed)]))


def pack(
    lengths: Int[np.ndarray, "n sides"],
    *,
    row_length: int,
    max_segments: int,
    key: tuple[int, ...],
    first: int = 0,
    hardness: Float[np.ndarray, " n"] | None = None,
) -> Rows:
    """Pack examples `first .. first + n - 1` into rows, window by window of an order drawn from `key`.

    With `hardness`, a number of each example, the order is from low to high; equal ones come in the drawn order.

    Every example is in exactly one row. `max_segments=1` gives one example per row. Raises InputError for an example
    longer than a row, which the caller should have shortened or dropped.
    """
    if len(lengths) and int(lengths.max()) > row_length:
        raise InputError(f"an example of {int(lengths.max())} tokens does not fit a row of {row_length}; shorten it")
    order = random_order(len(lengths), *key)
    if hardness is not None:
        order = order[np.argsort(hardness[order], kind="stable")]
    if max_segments == 1 or not len(order):
        return Rows(first + order, np.arange(len(order) + 1))
    whole = len(order) // WINDOW * WINDOW
    windows = [*order[:whole].reshape(-1, WINDOW), *([order[whole:]] if whole < len(order) else [])]
    parts = []
    for start in range(0, len(windows), TOGETHER):
        some = windows[start : start + TOGETHER]
        for _, alike in itertools.groupby(some, len):  # the last window may be smaller
            together = np.stack(list(alike))
            for window, rows in zip(together, _fitted(lengths[together], row_length, max_segments), strict=True):
                parts.append(rows._replace(members=first + window[rows.members]))
    return join_rows(parts)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, in their order."""
    return Rows(np.concatenate([part.members for part in parts]), join_offsets([part.offsets for part in parts]))


def join_offsets(parts: Sequence[Int[np.ndarray, " _"]]) -> Int[np.ndarray, " n_and_one"]:
    """The offsets of arrays that are laid one after the other."""
    return np.cumsum(np.concatenate([[0], *map(np.diff, parts)]))
