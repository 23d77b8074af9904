"""The mesh: what is refused and with which numbers, and where the devices of described machines come to lie."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from mtjax.distributed.sharding import MESH_AXES, MeshSpec, arrange, constrain, make_mesh, mesh_sizes, spec_of, ways
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.runs.mesh_checks import check_mesh


@dataclasses.dataclass(frozen=True)
class Chip:
    """What the arrangement of a TPU's devices reads of one."""

    id: int
    coords: tuple[int, int, int]
    slice_index: int = 0
    device_kind: str = "TPU v4"
    platform: str = "tpu"
    core_on_chip: int = 0

    @property
    def process_index(self):
        return self.slice_index


def slices(count, sides, **settings):
    places = list(np.ndindex(*sides))
    chip = lambda number, n: Chip(number * len(places) + n, places[n], number, **settings)
    return [chip(number, n) for number in range(count) for n in range(len(places))]


def sizes(**known):
    return {name: known.get(name, 1) for name in MESH_AXES}


def test_one_size_takes_what_the_others_leave():
    assert mesh_sizes(MeshSpec(tensor=2, context=2), 8) == sizes(data=2, tensor=2, context=2)
    assert dict(make_mesh(MeshSpec(data=2, fsdp=-1)).shape) == sizes(data=2, fsdp=4)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (MeshSpec(data=3), "multiplies to 3, but there are 8 devices: the product must be 8; here fits --mesh.data=8"),
        (
            MeshSpec(tensor=3),
            "3, but there are 8 devices: the product must be a divisor of 8; here fits --mesh.tensor=1",
        ),
        (MeshSpec(data=-1, fsdp=16), "here fits --mesh.fsdp=8"),
        (MeshSpec(data=2, fsdp=2), "here fits --mesh.data=4"),
        (MeshSpec(data=-1, context=-1), "at most one is -1"),
        (MeshSpec(expert=0), "each axis is a positive number"),
    ],
)
def test_sizes_that_do_not_multiply_up_are_refused(spec, said):
    with pytest.raises(InputError, match=said):
        make_mesh(spec)


def test_the_table_by_hand():
    assert spec_of(("batch", "length", "activation")) == jax.P(("data", "fsdp", "expert"), "context", None)
    assert spec_of(("layers", "embed", "heads", "head_dim")) == jax.P(
        None, ("fsdp", "expert", "context"), "tensor", None
    )
    mesh = make_mesh(MeshSpec(data=1, fsdp=2, context=2, tensor=2))
    assert (ways(mesh, "batch"), ways(mesh, "length"), ways(mesh, "embed"), ways(mesh, "norm")) == (2, 2, 4, 1)
    assert ways(None, "batch") == 1


def test_an_axis_that_is_not_divided_stays_whole():
    with jax.set_mesh(make_mesh(MeshSpec(data=4, context=2))):
        place = jax.jit(lambda x: constrain(x, "batch", "length"))(np.ones((8, 3))).sharding
        assert place.shard_shape((8, 3)) == (2, 3)
        place = jax.jit(lambda x: constrain(x, "batch", "length"))(np.ones((8, 4))).sharding
        assert place.shard_shape((8, 4)) == (2, 2)


def test_inner_axes_are_neighbours_on_the_torus():
    """On 4 x 4 x 4, tensor=4 takes one side: the devices of a group differ in one coordinate only."""
    placed = arrange(sizes(fsdp=16, tensor=4), slices(1, (4, 4, 4)))
    for group in placed.reshape(16, 4):
        differing = [len({chip.coords[side] for chip in group}) for side in range(3)]
        assert sorted(differing) == [1, 1, 4]


def test_only_one_axis_crosses_slices():
    """Two slices of 2 x 2 x 2: data crosses by default; with fsdp across, each half of it is one slice."""
    devices = slices(2, (2, 2, 2))
    by_data = arrange(sizes(data=2, fsdp=4, tensor=2), devices)
    assert [{chip.slice_index for chip in copy.flat} for copy in by_data] == [{0}, {1}]
    by_fsdp = arrange(sizes(data=2, fsdp=4, tensor=2), devices, across_slices="fsdp")
    assert [{chip.slice_index for chip in part.flat} for part in by_fsdp.swapaxes(0, 1)] == [{0}, {0}, {1}, {1}]


def test_slices_that_no_axis_crosses_evenly_are_refused_on_tpu_and_laid_in_order_on_gpu():
    devices = slices(2, (2, 2, 1))
    with pytest.raises(InputError, match=r"mesh.data=1 is no multiple of the 2 slices.*across_slices=fsdp .*\(now 8\)"):
        arrange(sizes(fsdp=8), devices)
    gpus = [dataclasses.replace(chip, platform="gpu", device_kind="NVIDIA H100 80GB HBM3") for chip in devices]
    assert [gpu.id for gpu in arrange(sizes(fsdp=8), gpus).flat] == list(range(8))
    assert [{gpu.slice_index for gpu in copy.flat} for copy in arrange(sizes(data=2, fsdp=4), gpus)] == [{0}, {1}]


def test_a_mesh_without_a_place_on_the_torus_is_refused_with_its_sides():
    """2 x 8 on 4 x 4: no whole sides multiply to 8; v5e splits sides unasked, as in `jax.make_mesh`."""
    chips = slices(1, (4, 4, 1), device_kind="TPU v6 lite")
    said = "finds no place on 1 x 4x4x1 TPU v6 lite devices (Failed to find assignment for logical_axis_index"
    with pytest.raises(InputError, match=re.escape(said) + ".*split_torus=True"):
        arrange(sizes(fsdp=2, tensor=8), chips)
    placed = arrange(sizes(fsdp=2, tensor=8), chips, split_torus=True)
    assert placed.shape == (1, 2, 1, 1, 8)
    v5e = slices(1, (4, 4, 1), device_kind="TPU v5 lite")
    assert arrange(sizes(fsdp=2, tensor=8), v5e).shape == (1, 2, 1, 1, 8)


@pytest.mark.parametrize(
    ("axes", "length", "said"),
    [
        ({"tensor": 4}, 16, "mesh.tensor=4 is more than model.kv_heads=2"),
        ({"tensor": 2}, 16, "mesh.tensor=2 does not divide model.mlp_width=25"),
        ({"fsdp": 4}, 16, "mesh fsdp x expert x context = 4 x 1 x 1 does not divide model.width=18"),
        ({"fsdp": 2, "context": 2}, 16, "mesh fsdp x expert x context = 2 x 1 x 2 does not divide model.width=18"),
        ({"context": 2}, 15, "mesh.context=2 does not divide data.sequence_length=15"),
    ],
)
def test_a_mesh_that_does_not_divide_the_model_is_refused_with_the_numbers(axes, length, said):
    config = DecoderConfig(vocab_size=16, width=18, layers=1, heads=4, kv_heads=2, head_dim=4, mlp_width=25)
    with pytest.raises(InputError, match=re.escape(said)):
        check_mesh(make_language_model(config), make_mesh(MeshSpec(**axes)), length)
    check_mesh(make_language_model(config), make_mesh(MeshSpec(fsdp=2)), length)
