"""Choices by number: hashes and orders that are the same on every machine, Python and NumPy release."""

import hashlib

import numpy as np

from mtjax.errors import InputError


def check_seed(seed: int) -> None:
    """InputError for a seed that no generator takes: it must be 0 or more, and below 2^63."""
    if not 0 <= seed < 2**63:
        raise InputError(f"seed={seed}: expected at least 0, and below 2^63")


def digest(*parts: object) -> str:
    """A fingerprint of the parts' representations: 32 hexadecimal digits.

    Python's own `hash` differs between processes; this does not.
    """
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    return made.hexdigest()


def unit(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone: the first 53 bits of their digest."""
    return (int(digest(*parts)[:16], 16) >> 11) / 2**53


def random_order(size: int, *key: int) -> np.ndarray:
    """A permutation of `0 .. size - 1`, int64, that depends on `size` and the key (numbers >= 0) alone.

    It sorts raw Philox bits: NumPy keeps those equal for ever, while the stream behind its `permutation` may change
    between releases.
    """
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(size)
    return np.argsort(np.asarray(bits, np.uint64), kind="stable")
