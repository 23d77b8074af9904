"""What a device has to hold: exact bytes of what is passed in, the compiler's peak, and what is large in it."""

import math
import pathlib
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
DUMP = {"xla_dump_hlo_as_text": True, "xla_dump_hlo_pass_re": "^$"}
"""With `xla_dump_to`: the compiler writes what fills the memory, also when it gives up."""


class Memory(NamedTuple):
    """Bytes on one device.

    Attributes:
        parts: exact bytes of what the program is given, by name.
        peak: most that is used at once, by the compiler; where it gave up, what it would have needed.
        limit: what there is.
        aliased: of the parts, what the program reuses for its results.
        largest: the largest buffers when it does not fit: (bytes, shapes).
    """

    parts: dict[str, int]
    peak: int
    limit: int
    aliased: int
    largest: tuple[tuple[int, str], ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the peak is within the limit."""
        return self.peak <= self.limit


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of placed abstract arrays on one device: the largest shard of each."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        total += math.prod(leaf.sharding.shard_shape(leaf.shape)) * jnp.dtype(leaf.dtype).itemsize
    return total


def read_refusal(message: str) -> tuple[int, int] | None:
    """Bytes needed and there to be had, from the compiler's words; None where it says something else.

    >>> read_refusal("... for HLO temporaries (1.5G) exceeds available HBM (1.00G).")
    (1610612736, 1073741824)
    """
    found = re.search(r"\(([\d.]+)([KMGT])\) exceeds available \w+ \(([\d.]+)([KMGT])\)", message)
    if found is None:
        return None
    return int(float(found[1]) * UNITS[found[2]]), int(float(found[3]) * UNITS[found[4]])


def read_largest(folder: pathlib.Path, most: int = 6) -> tuple[tuple[int, str], ...]:
    """The largest buffers in the compiler's memory report in `folder`: bytes, and an array that lies there."""
    reports = sorted(folder.rglob("*memory-usage-report.txt"), key=lambda file: file.stat().st_size)
    if not reports:
        return ()
    found: dict[tuple[int, str], int] = {}
    for line in reports[-1].read_text().splitlines():
        row = re.match(r"\s*[\d.]+[KMGT]?i?B\(.*?\);\s*([\d.]+)([KMGT])iB;\s*\d+;\s*\d+;\s*(.*)", line)
        if row:
            arrays = re.findall(r"[a-z]+\d*\[[\d,]*\]", row[3])
            size = int(float(row[1]) * UNITS[row[2]])
            name = max(arrays, key=_elements, default="?")
            found[size, name] = found.get((size, name), 0) + 1
    largest = sorted(found.items(), key=lambda entry: -entry[0][0] * entry[1])[:most]
    return tuple((size * count, f"{count} x {name}" if count > 1 else name) for (size, name), count in largest)


def _elements(array: str) -> int:
    return math.prod(int(side) for side in array[array.index("[") + 1 : -1].split(",") if side)
