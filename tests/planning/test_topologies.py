"""Names of machines: sizes, sides, rings, and refusals."""

import pathlib
import tomllib

import pytest

from mtjax.errors import InputError
from mtjax.planning.topologies import HARDWARE, SLICES, Side, find_topology, larger_ones, named_slices, sides


@pytest.mark.parametrize(
    ("name", "shape", "devices", "wrap"),
    [
        ("v5p-64", (2, 4, 4), 32, (False,) * 3),  # 64 TensorCores are 32 chips
        ("v5p-128", (4, 4, 4), 64, (True,) * 3),
        ("v4-8", (2, 2, 1), 4, (False,) * 3),
        ("v5e-256", (16, 16), 256, (True, True, False)),
        ("v5e-128", (8, 16), 128, (False, True, False)),
        ("v6e-8", (2, 4), 8, (False,) * 3),
        ("7x-16", (2, 2, 2), 16, (False,) * 3),  # two devices to a chip
        ("v5p:8x8x8", (8, 8, 8), 512, (True,) * 3),
        ("v5litepod-16", (4, 4), 16, (False,) * 3),
    ],
)
def test_tpus(name, shape, devices, wrap):
    found = find_topology(name)
    assert (found.shape, found.size, found.wrap) == (shape, devices, wrap)


@pytest.mark.parametrize(
    ("name", "shape"), [("h100-8", (1, 8)), ("a100-4", (1, 4)), ("h200-64", (8, 8)), ("h100:2x4", (2, 4))]
)
def test_gpus(name, shape):
    assert find_topology(name).shape == shape


def test_slices_multiply():
    assert find_topology("v5e-16", 2).size == 32


@pytest.mark.parametrize(
    ("name", "slices", "says"),
    [
        ("v5q-64", 1, "did you mean"),
        ("v5p", 1, "a machine and a size"),
        ("v5p-63", 1, "v5p-64"),
        ("v5e:2x2x2", 1, "expected 2 sides"),
        ("h100-12", 1, "a multiple of 8"),
        ("h100-8", 2, "slices=2"),
        ("v5e-16", 0, "slices=0"),
    ],
)
def test_refusals(name, slices, says):
    with pytest.raises(InputError, match=says):
        find_topology(name, slices)


def test_tables_agree_with_themselves():
    assert all(hardware.source and hardware.memory > 2**30 for hardware in HARDWARE.values())
    assert all(len(sides.split("x")) == number for number, names in SLICES.items() for sides in names.split())
    for kind, chip in (("v5p", 2), ("v5e", 1)):
        sizes = list(named_slices(kind))
        assert sizes == sorted(sizes)
        assert all(size & (size - 1) == 0 and size % chip == 0 for size in sizes)  # powers of 2


def test_the_table_is_installed_with_the_package():
    settings = tomllib.loads((pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-data"]["mtjax.planning"] == ["topologies.toml"]


def test_links_of_a_device():
    assert sides(find_topology("v5p-64")) == (Side(1, 1), Side(1, 2), Side(1, 2))  # lines of 2, 4 and 4
    assert sides(find_topology("v5e-256")) == (Side(2, 2), Side(2, 2))  # two rings
    assert sides(find_topology("h100-8")) == (Side(1, 1),)


def test_the_next_sizes():
    assert [one.name for one in larger_ones(find_topology("v5e-8"))] == ["v5e-16", "v5e-32", "v5e-64"]
    assert [one.name for one in larger_ones(find_topology("h100-8"))] == ["h100-16", "h100-32", "h100-64"]
