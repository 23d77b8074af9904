"""Time of a computation by the host's clock, which must wait for the device."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

SMALL = 2**16  # numbers that are read at once


def wait(value: Any) -> None:
    """Wait until all arrays of a tree are computed, and read the smallest of them if it is small.

    The read is for platforms on which `block_until_ready` returns early; what is timed gives a scalar beside the rest.
    """
    leaves = [leaf for leaf in jax.tree.leaves(jax.block_until_ready(value)) if hasattr(leaf, "addressable_shards")]
    smallest = min(leaves, key=lambda leaf: leaf.size, default=None)
    if smallest is not None and smallest.size <= SMALL:
        np.asarray(smallest.addressable_shards[0].data)


def seconds_of(call: Callable[[], Any], times: int = 3) -> float:
    """The shortest of several calls in seconds; one before them, which compiles, is not counted."""
    wait(call())
    found = []
    for _ in range(times):
        began = time.perf_counter()
        wait(call())
        found.append(time.perf_counter() - began)
    return min(found)
