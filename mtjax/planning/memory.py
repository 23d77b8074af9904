"""What a device has to hold: exact bytes of the arguments, the compiler's peak, and the largest buffers."""

import dataclasses
import math
import pathlib
import re
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
DUMP = {"xla_dump_hlo_as_text": True, "xla_dump_hlo_pass_re": "^$"}
"""With `xla_dump_to`: the compiler writes what fills the memory, also when it gives up."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    parts: dict[str, int]  # exact bytes of the program's arguments, by name
    peak: int  # the compiler's peak; where it gave up, what it would have needed
    limit: int  # what the device has
    aliased: int  # of the parts, what the program reuses for its results
    largest: tuple[tuple[int, str], ...] = ()  # the largest buffers when it does not fit: (bytes, shapes)

    @property
    def fits(self) -> bool:
        """Whether the peak is within the limit."""
        return self.peak <= self.limit


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of placed abstract arrays on one device: the largest shard of each."""
    shard = lambda leaf: math.prod(leaf.sharding.shard_shape(leaf.shape)) * jnp.dtype(leaf.dtype).itemsize
    return sum(map(shard, jax.tree.leaves(tree)))


def read_refusal(message: str) -> tuple[int, int] | None:
    """Bytes needed and available, from the compiler's error message; None if it is about something else.

    >>> read_refusal("... for HLO temporaries (1.5G) exceeds available HBM (1.00G).")
    (1610612736, 1073741824)
    """
    found = re.search(r"\(([\d.]+)([KMGT])\) exceeds available \w+ \(([\d.]+)([KMGT])\)", message)
    if found is None:
        return None
    return int(float(found[1]) * UNITS[found[2]]), int(float(found[3]) * UNITS[found[4]])


def read_largest(folder: pathlib.Path, most: int = 6) -> tuple[tuple[int, str], ...]:
    """The largest buffers in the compiler's memory report in `folder`: bytes, and the largest array in each."""
    reports = sorted(folder.rglob("*memory-usage-report.txt"), key=lambda file: file.stat().st_size)
    found: Counter[tuple[int, str]] = Counter()
    elements = lambda array: math.prod(map(int, re.findall(r"\d+", array.partition("[")[2])))
    for line in reports[-1].read_text().splitlines() if reports else ():
        row = re.match(r"\s*[\d.]+[KMGT]?i?B\(.*?\);\s*([\d.]+)([KMGT])iB;\s*\d+;\s*\d+;\s*(.*)", line)
        if row:
            arrays = re.findall(r"[a-z]+\d*\[[\d,]*\]", row[3])
            found[int(float(row[1]) * UNITS[row[2]]), max(arrays, key=elements, default="?")] += 1
    largest = sorted(found.items(), key=lambda entry: -entry[0][0] * entry[1])[:most]
    return tuple((size * count, f"{count} x {name}" if count > 1 else name) for (size, name), count in largest)
