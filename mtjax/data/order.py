"""Order: which row of which source stands at place n of the endless stream, from the seed and n alone."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.packing import WINDOW
from mtjax.io.hashing import random_order

SHUFFLE, MIX = 1, 2  # keep the keys of different draws apart


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
