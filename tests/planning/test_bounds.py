"""The roofline by hand, on a machine with round numbers."""

import dataclasses

import pytest

from mtjax.planning.bounds import compiler_seconds, roofline
from mtjax.planning.collectives import Collective
from mtjax.planning.hlo import read_program
from mtjax.planning.topologies import Hardware, Side

MACHINE = Hardware(
    "tpu", memory=100.0, peak_flops=10.0, memory_bandwidth=4.0, link_bandwidth=2.0, far_bandwidth=1.0, source="made up"
)
GATHER = Collective("all-gather", "fsdp", 4, 8, 2, False, (0, 1, 2, 3), "", (), "", ())
ONE_EACH = (Side(1, 1), Side(1, 1))
SQUARE = [(0, x, y) for x in range(2) for y in range(2)]


def bound(collectives, places, sides=ONE_EACH, machine=MACHINE):
    return roofline(
        flops=400.0,
        useful_flops=300.0,
        touched=8.0,
        collectives=collectives,
        places=places,
        sides=sides,
        hardware=machine,
    )


def test_products_and_memory():
    made = bound([], SQUARE)
    # 400 / 4 devices / 10 = 10 s; 8 / 4 = 2 s; 300 of 400 were useful.
    assert made.terms == {"matrix products": 10.0, "memory": 2.0}
    assert (made.seconds, made.limited_by, made.mfu) == (10.0, "matrix products", 0.75)


def test_a_gather_over_both_sides_of_the_torus():
    # 16 bytes in all, 3/4 sent = 12, over one link of 2 bytes/s on each of two sides: 3 s on both.
    assert bound([GATHER], SQUARE).terms == {
        "matrix products": 10.0,
        "memory": 2.0,
        "links along side 1": 3.0,
        "links along side 2": 3.0,
    }


def test_a_shift_uses_the_links_to_both_neighbours():
    shift = GATHER._replace(operation="collective-permute", members=2, group=(0, 1))
    made = bound([shift], [(0, 0, y) for y in range(4)], (Side(1, 1), Side(1, 2)))
    assert made.terms["links along side 2"] == 16 / 4.0


def test_what_crosses_slices_is_shared_by_the_members_of_one():
    places = [(slice_, 0, y) for slice_ in range(2) for y in range(2)]
    made = bound([GATHER._replace(across=True)], places)
    # Two slices of two: half of 16 bytes must cross, by two devices, at 1 byte/s; within, half over one link of 2.
    assert made.terms["network between slices"] == 4.0
    assert made.terms["links along side 2"] == 4.0
    far = GATHER._replace(axes="slices", members=2, operation="all-reduce", across=True)
    assert bound([far], places).terms["network between slices"] == 16.0  # 2 * 16 / 2: already a device's share


def test_gpus_call_their_links_otherwise():
    card = dataclasses.replace(MACHINE, platform="cuda")
    made = bound([GATHER], [(0, n) for n in range(4)], (Side(1, 1),), card)
    assert made.terms["links in the node"] == 6.0


def test_the_compilers_cycles_add_up_over_loops_but_not_inside_fusions():
    text = """HloModule m

%inside (p: f32[2]) -> f32[2] {
  ROOT %a = f32[2]{0} add(%p, %p), backend_config={"estimated_cycles":"1000"}
}

%body (q: f32[2]) -> f32[2] {
  ROOT %f = f32[2]{0} fusion(%q), kind=kLoop, calls=%inside, backend_config={"estimated_cycles":"30"}
}

ENTRY %main (x: f32[2]) -> f32[2] {
  %c = f32[2]{0} copy(%x), backend_config={"estimated_cycles":"10"}
  ROOT %w = f32[2]{0} while(%c), condition=%no, body=%body, backend_config={"known_trip_count":{"n":"3"}}
}
"""
    assert compiler_seconds(read_program(text), clock=50.0) == pytest.approx((10 + 3 * 30) / 50)
    assert compiler_seconds(read_program(text), clock=None) is None
