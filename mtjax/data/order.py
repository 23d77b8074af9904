"""The order in which rows come: an endless stream of all sources, as a function of the place in it."""

import bisect
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.packing import WINDOW
from mtjax.io.hashing import random_order

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


class Order(NamedTuple):
    """The order in which rows come, as functions of the place in their stream."""

    rows_at: Callable[[Int[np.ndarray, " n"]], Int[np.ndarray, " n"]]
    taken: Callable[[int], Int[np.ndarray, " sources"]]  # how many rows of each source stand before a place
    ends: tuple[tuple[int, int], ...]  # sources that end, each with the place from which on it gives nothing

    def __call__(self, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return self.rows_at(places)


class _Phase(NamedTuple):
    """A stretch of the stream of rows with the same sources."""

    start: int  # its first place
    per_block: Int[np.ndarray, " sources"]  # places of each source in a block
    before: Int[np.ndarray, " sources"]  # rows that each source has given before


def make_order(
    row_counts: Sequence[int],
    shares: Float[np.ndarray, " sources"],
    seed: int,
    limits: Sequence[float] | None = None,
    hardness: Sequence[Float[np.ndarray, " rows"]] | None = None,
) -> Order:
    """The endless stream of rows: `places -> rows`, any places in any order.

    Rows are numbered source after source. The stream comes in blocks of `WINDOW` places; of each block every source
    has the same number of places (its share, to 1 / `WINDOW`), at places drawn from (seed, block). So the k-th place of
    a source is known without looking back. A source of R rows goes through all of them in places 0 .. R - 1 of its own,
    then through all again in another order, drawn from (seed, source, epoch); epochs follow each other without a gap.

    With `hardness`, a number of each row of each source, the first epoch of a source goes from low to high; equal rows
    come at random.

    A source that has given as many rows as its limit ends, and the others share its places from there on.

    At most one block and a few epochs' orders are kept in memory.
    """
    first = np.cumsum([0, *row_counts])
    most = np.full(len(row_counts), np.inf) if limits is None else np.asarray(limits)
    phases: list[_Phase] = []

    @functools.lru_cache(maxsize=2)
    def block_order(phase: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        """For each place of the block its source, and how many places of that source come before it in the block."""
        per_block = phases[phase].per_block
        source = np.repeat(np.arange(len(row_counts)), per_block)
        if len(row_counts) > 1:
            source = source[random_order(WINDOW, seed, MIX, block, *([phase] if phase else []))]
        rank = np.zeros(WINDOW, np.int64)
        for number, count in enumerate(per_block):
            rank[source == number] = np.arange(count)
        return source, rank

    def taken_in(phase: int, place: int) -> Int[np.ndarray, " sources"]:
        block, inside = divmod(place - phases[phase].start, WINDOW)
        here = np.bincount(block_order(phase, block)[0][:inside], minlength=len(row_counts))
        return phases[phase].before + block * phases[phase].per_block + here

    start, before = 0, np.zeros(len(row_counts), np.int64)
    while True:
        active = before < most
        per_block = np.zeros(len(row_counts), np.int64)
        per_block[active] = quotas(shares[active], WINDOW)
        phases.append(_Phase(start, per_block, before))
        ends = []
        for source in np.flatnonzero(active & np.isfinite(most)).tolist():
            block, rank = divmod(int(most[source] - before[source]) - 1, int(per_block[source]))
            ends.append(
                block * WINDOW + int(np.flatnonzero(block_order(len(phases) - 1, block)[0] == source)[rank]) + 1
            )
        if not ends:
            break
        start += min(ends)
        before = taken_in(len(phases) - 1, start)

    @functools.lru_cache(maxsize=2 + 2 * len(row_counts))
    def epoch_order(source: int, epoch: int) -> np.ndarray:
        order = random_order(row_counts[source], seed, SHUFFLE, source, epoch)
        if hardness is None or epoch:
            return order
        return order[np.argsort(hardness[source][order], kind="stable")]

    def rows_at(places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        phase = np.searchsorted([one.start for one in phases], places, side="right") - 1
        blocks, inside = np.divmod(places - np.array([one.start for one in phases])[phase], WINDOW)
        source, rank = np.zeros_like(places), np.zeros_like(places)
        for number, block in np.unique(np.stack([phase, blocks], axis=1), axis=0).tolist():
            here = (phase == number) & (blocks == block)
            sources, ranks = block_order(number, block)
            source[here] = sources[inside[here]]
            given = phases[number].before + block * phases[number].per_block
            rank[here] = given[source[here]] + ranks[inside[here]]
        epoch, within = np.divmod(rank, np.asarray(row_counts)[source])
        rows = np.zeros_like(places)
        for number, count in np.unique(np.stack([source, epoch], axis=1), axis=0):
            here = (source == number) & (epoch == count)
            rows[here] = first[number] + epoch_order(int(number), int(count))[within[here]]
        return rows

    def taken(places: int) -> Int[np.ndarray, " sources"]:
        return taken_in(bisect.bisect_right(phases, places, key=lambda one: one.start) - 1, places)

    ended = [(source, one.start) for last, one in itertools.pairwise(phases) for source in
             np.flatnonzero((one.before >= most) & (last.before < most)).tolist()]  # fmt: skip
    return Order(rows_at, taken, tuple(ended))
