"""Checksums of arrays: the same on host and devices and on every mesh, and no bit may flip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mtjax.model.fingerprint import fingerprint_of
from mtjax.training import checksums

VALUES = np.linspace(-3, 3, 48, dtype=np.float32).reshape(2, 8, 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
def test_host_and_device_agree(dtype, monkeypatch):
    monkeypatch.setattr(checksums, "PIECE", 7)
    x = jnp.asarray(VALUES, dtype)
    assert list(checksums._mixed_sum_on_host(np.asarray(x))) == checksums._mixed_sum(x).tolist()


def test_every_mesh_gives_the_same():
    mesh = jax.make_mesh((8,), ("rows",))
    split = jax.device_put(VALUES, jax.NamedSharding(mesh, jax.P(None, "rows")))
    assert checksums._mixed_sum(split).tolist() == list(checksums._mixed_sum_on_host(VALUES))
    assert checksums.checksums({"a": split}) == checksums.checksums({"a": jnp.asarray(VALUES)})


def test_every_flipped_bit_changes_it():
    sound, seen = checksums._mixed_sum_on_host(VALUES), set()
    for place in range(VALUES.size):
        for bit in range(32):
            flipped = VALUES.copy()
            flipped.reshape(-1).view(np.uint32)[place] ^= np.uint32(1 << bit)
            seen.add(checksums._mixed_sum_on_host(flipped))
    assert sound not in seen
    assert len(seen) == VALUES.size * 32
    assert checksums._mixed_sum_on_host(VALUES[::-1].copy()) != sound  # the place counts too


def test_a_large_integer_is_read_whole():
    a, b = (checksums.checksums({"step": jnp.int32(2**30 + one)})["step"] for one in (0, 1))
    assert a != b


def test_fingerprints_of_earlier_versions_hold():
    assert fingerprint_of({"a": jnp.asarray(VALUES), "b": {"c": jnp.ones(3)}}) == "ca2980184c492e0072928bd65367193e"


@pytest.mark.parametrize("split", [False, True])
def test_sums_that_were_begun_are_those_of_arrays_that_are_changed_in_place_afterwards(split):
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    where = NamedSharding(mesh, PartitionSpec("data" if split else None))
    change = jax.jit(lambda x: x + 1, donate_argnums=0)
    array = jax.device_put(jnp.arange(80_000.0).reshape(80, 1000), where)
    begun = checksums.begin_checksums({"a": array})
    array = change(array)
    jax.block_until_ready(array)
    before = checksums.checksums({"a": jnp.arange(80_000.0).reshape(80, 1000)})
    assert begun() == before != checksums.checksums({"a": array})
