"""Planned programs on eight simulated devices: exact state, counted FLOPs, and a compiled text that can be read."""

import dataclasses
import pathlib

import jax
import pytest

from mtjax.config import read_file
from mtjax.data.sources import InMemory
from mtjax.data.tasks import PairTask
from mtjax.distributed.sharding import MeshSpec, device_bytes, make_mesh
from mtjax.errors import InputError
from mtjax.model.adapters.lora import Lora
from mtjax.objectives.rise import rise_paper
from mtjax.planning.collectives import find_collectives, table
from mtjax.planning.hlo import read_program
from mtjax.planning.lint import lint
from mtjax.planning.program import chosen, plan_program
from mtjax.planning.topologies import find_topology

TINY = read_file(pathlib.Path(__file__).parents[2] / "configs" / "tiny.py")
RISE = dataclasses.replace(
    TINY,
    data=dataclasses.replace(TINY.data, source=InMemory(()), task=PairTask(), sequence_length=64),
    model=dataclasses.replace(TINY.model, layers=5, remat="full"),
    objective=rise_paper(beta=0.1, nll_weight=0.05),
    mesh=MeshSpec(data=2, fsdp=4),
)


@pytest.fixture(scope="module")
def planned():
    return plan_program(RISE, make_mesh(RISE.mesh), "train")


def test_state_by_hand(planned):
    # Vocabulary 40: embedding and head 2 * 40 * 32; per layer q and out 2 * 32 * 32, k and v 2 * 32 * 16, MLP
    # 3 * 32 * 96. All of it is split over fsdp = 4; the 11 norms of width 32 are whole.
    vocabulary = planned.shape.vocab_size
    split = 2 * vocabulary * 32 + 5 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 96)
    assert planned.parameters == split + 11 * 32
    own = 4 * (split // 4 + 11 * 32)
    sizes = {name: device_bytes(tree) for name, tree in planned.parts.items()}
    assert sizes["parameters"] == sizes["reference"] == own
    assert sizes["optimizer state"] == 2 * own + 2 * 4  # two moments, and the steps of Adam and of the schedule


def test_rows_that_the_devices_do_not_divide_are_refused_before_a_setting_is_chosen():
    config = dataclasses.replace(RISE, batch_size=6, micro_batches="auto")
    with pytest.raises(InputError, match="batch_size=6 must be a multiple of micro_batches=1 times the 8 devices"):
        chosen(config, make_mesh(config.mesh), find_topology("v5e-8").hardware)


def test_an_adapter_has_its_own_state_and_shares_its_base_with_the_reference():
    # Of rank 2: on q and out A and B have 2 * 2 * 32 numbers, on k and v 2 * (32 + 16), on the MLP 2 * (32 + 96).
    model = dataclasses.replace(RISE.model, adapter=Lora(rank=2, base_dtype="bfloat16"))
    planned = plan_program(dataclasses.replace(RISE, model=model), make_mesh(RISE.mesh), "train")
    adapter = 5 * (2 * 2 * 64 + 2 * 2 * 48 + 3 * 2 * 128)
    base = 2 * planned.shape.vocab_size * 32 + 5 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 96) + 11 * 32
    assert planned.parameters == adapter + base
    assert planned.parts["reference"] is None
    sizes = {name: device_bytes(tree) for name, tree in planned.parts.items()}
    assert sizes["frozen base"] == 2 * ((base - 11 * 32) // 4 + 11 * 32)
    assert sizes["optimizer state"] == 2 * sizes["parameters"] + 2 * 4
    assert sizes["parameters"] < 4 * adapter
    # Forward 1 and backward 1 of the base for the policy (3 of the adapter), 1 for the reference.
    shape, tokens = planned.shape, 16 * 2 * 64
    matrices = base - shape.vocab_size * 32
    attention = 5 * 2 * 64 * 32
    assert planned.useful_flops == pytest.approx(2 * tokens * (3 * matrices + 3 * adapter + 4 * attention / 2))


def test_flops_by_hand(planned):
    shape, tokens = planned.shape, 16 * 2 * 64
    layers = 5 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 96)
    table = shape.vocab_size * 32
    attention = 5 * 2 * 64 * 32  # products with all 64 keys: scores and sum
    # Policy: forward, backward (2), and forward again but for the last product, whose result nothing needs; reference:
    # forward. Head: forward, backward (2) and the logits again; reference's forward. The embedding is a lookup.
    assert planned.tokens == tokens
    norms = 11 * 32  # in the backward pass, the product of each row with its gradient
    assert planned.flops == 2 * tokens * (5 * (layers + attention) - 5 * 96 * 32 + 5 * table + norms)
    assert planned.useful_flops == pytest.approx(2 * tokens * 4 * (layers + table + 11 * 32 + attention / 2))


def test_compiled_on_simulated_devices(planned):
    compiled = planned.lowered.compile()
    program = read_program(compiled.as_text())
    mesh = make_mesh(RISE.mesh)
    found = find_collectives(program, mesh.devices.shape, mesh.axis_names, [(0, n) for n in range(8)])
    assert {row.axes for row in table(found)} <= {"data", "fsdp", "data+fsdp"}
    gathers = [row for row in table(found) if row.operation == "all-gather"]
    # At least: every weight of the policy forward and backward, of the reference forward; in float32 here.
    weights = 4 * 5 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 96)
    assert sum(row.bytes for row in gathers) >= 2 * weights
    donated = sum(device_bytes(planned.parts[name]) for name in planned.donated)
    aliased = compiled.memory_analysis().alias_size_in_bytes
    assert "state not donated" not in {one.rule for one in lint(found, "", donated, aliased)}
    assert "collective in the loss-chunk loop" not in {one.rule for one in lint(found, "", donated, aliased)}


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_serving(phase):
    planned = plan_program(TINY, make_mesh(MeshSpec(data=8)), phase)
    # 16 rows over 8 devices, 96 places in two pages of 64, keys and values of 2 layers, one head of 16, float32.
    assert device_bytes(planned.parts["cache"]) == 2 * 2 * 2 * 128 * 16 * 4
    assert planned.tokens == 16 * (48 if phase == "prefill" else 1)
    assert planned.flops > 0


def test_a_batch_that_the_mesh_does_not_divide_is_refused():
    with pytest.raises(InputError, match="batch_size=12 must be a multiple"):
        plan_program(dataclasses.replace(RISE, batch_size=12), make_mesh(RISE.mesh), "train")
    assert jax.device_count() == 8
