"""Packing: several examples in one row, so that little of a row is padding."""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from mtjax.data.hashing import random_order
from mtjax.errors import InputError

WINDOW = 4096
"""Examples that are packed together: enough for rows to be nearly full, few enough to cost milliseconds."""


class Rows(NamedTuple):
    """Which examples share which row.

    Attributes:
        members: example numbers, row after row; each example exactly once.
        offsets: row r holds `members[offsets[r]:offsets[r + 1]]`; one entry more than there are rows.
    """

    members: Int[np.ndarray, " n"]
    offsets: Int[np.ndarray, " rows_and_one"]

    @property
    def number(self) -> int:
        """How many rows there are."""
        return len(self.offsets) - 1


def best_fit(lengths: Sequence[int], row_length: int, max_segments: int) -> list[list[int]]:
    """Put examples of these lengths into rows, longest first, each where the least room would be left.

    Returns the positions in `lengths` that share each row: at most `max_segments` of them, at most `row_length` tokens.
    Ties go to the earlier example and to the row opened last; there is no chance in it. O(n log n).

    >>> best_fit([2, 5, 3, 1], row_length=6, max_segments=2)
    [[1, 3], [2, 0]]
    """
    rows: list[list[int]] = []
    room_left: dict[int, list[int]] = {}  # rows by the room that is left
    rooms: list[int] = []  # the keys that hold rows, sorted
    for position in sorted(range(len(lengths)), key=lambda position: (-lengths[position], position)):
        length = lengths[position]
        place = bisect.bisect_left(rooms, length)
        if place < len(rooms):
            room = rooms[place]
            row = room_left[room].pop()
            if not room_left[room]:
                del rooms[place]
            rows[row].append(position)
        else:
            room, row = row_length, len(rows)
            rows.append([position])
        room -= length
        if room and len(rows[row]) < max_segments:
            if not room_left.setdefault(room, []):
                bisect.insort(rooms, room)
            room_left[room].append(row)
    return rows


def pack(
    lengths: Int[np.ndarray, " n"], *, row_length: int, max_segments: int, key: tuple[int, ...], first: int = 0
) -> Rows:
    """Pack examples `first .. first + n - 1` into rows, window by window of an order drawn from `key`.

    Every example is in exactly one row. `max_segments=1` gives one example per row. Raises InputError for an example
    longer than a row, which the caller should have shortened or dropped.
    """
    if len(lengths) and int(lengths.max()) > row_length:
        raise InputError(f"an example of {int(lengths.max())} tokens does not fit a row of {row_length}; shorten it")
    order = random_order(len(lengths), *key)
    if max_segments == 1:
        return Rows(first + order, np.arange(len(order) + 1))
    members: list[np.ndarray] = []
    counts: list[int] = []
    for start in range(0, len(order), WINDOW):
        window = order[start : start + WINDOW]
        rows = best_fit(lengths[window].tolist(), row_length, max_segments)
        members.append(window[[position for row in rows for position in row]])
        counts.extend(map(len, rows))
    offsets = np.cumsum([0, *counts])
    return Rows(first + np.concatenate(members or [order]), offsets)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, in their order."""
    starts = np.cumsum([0, *(len(part.members) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    return Rows(np.concatenate([part.members for part in parts]), np.concatenate([*offsets, starts[-1:]]))
