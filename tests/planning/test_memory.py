"""Bytes on a device, and the compiler's words about memory."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding

from mtjax.distributed.sharding import device_bytes
from mtjax.planning.compile import read_largest, read_refusal
from mtjax.planning.report import Memory


def test_the_shard_of_each_array():
    mesh = jax.make_mesh((2, 4), ("a", "b"), (AxisType.Auto,) * 2)
    place = lambda spec: NamedSharding(mesh, spec)
    tree = {
        "split": jax.ShapeDtypeStruct((8, 12), jnp.float32, sharding=place(jax.P("a", "b"))),  # 4 x 3 x 4 bytes
        "whole": jax.ShapeDtypeStruct((5,), jnp.bfloat16, sharding=place(jax.P())),  # 10
    }
    assert device_bytes(tree) == 48 + 10
    assert device_bytes(None) == 0


def test_the_compilers_refusal():
    words = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (23.50G) exceeds "
        "available HBM (512.00M)."
    )
    assert read_refusal(words) == (int(23.5 * 2**30), 2**29)
    assert read_refusal("INVALID_ARGUMENT: something else") is None


def test_fits():
    assert Memory({}, peak=10, limit=10, aliased=0).fits
    assert not Memory({}, peak=11, limit=10, aliased=0).fits


def test_what_is_large(tmp_path):
    (tmp_path / "m.after_optimizations-memory-usage-report.txt").write_text(
        "Total bytes: 1 (1GiB)\n"
        "  cumulative_size;       size;       offset; used_by_n_values; shapes_list\n"
        "    1.96GiB(  7%);    1.96GiB;   2194030592;                1; f32[4096,128256]\n"
        "    3.91GiB( 15%);    1.96GiB;   2227617792;                4; f32[4096,128256], f32[8,512], 2×f32[5,1]\n"
        "    4.91GiB( 15%);    3.00GiB;      9876543;                1; bf16[7,7]\n"
        "    4.92GiB( 15%);  512.00MiB;      9876543;                1; f32[]\n"
    )
    assert read_largest(tmp_path, most=2) == ((2 * int(1.96 * 2**30), "2 x f32[4096,128256]"), (3 * 2**30, "bf16[7,7]"))
    assert read_largest(tmp_path / "none") == ()
