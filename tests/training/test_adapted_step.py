"""The training step of an adapted model: what it trains and what it leaves, on one device and eight."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.model.adapters.lora import Lora
from mtjax.model.language_model import make_language_model
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.training.reference import frozen_reference
from mtjax.training.state import init_state, state_shardings
from mtjax.training.step import make_train_step, not_shared
from tests.objectives.fakes import batch_for
from tests.training.test_step import CONFIG, MIXED, MODEL, START, close

PLAIN = optax.sgd(1.0, momentum=0.9)  # its state has one array for each that is trained
BASE = jax.tree.map(lambda x: x.astype("bfloat16"), START)


def run(objective, *, mesh=None, micro_batches=1, dropout=0.0):
    """The base, the state after a step, and metrics; the reference is the base alone."""
    adapter = Lora(rank=2, dropout=dropout, base_dtype="bfloat16")
    model = make_language_model(dataclasses.replace(CONFIG, adapter=adapter))
    base = jax.device_put(BASE, None if mesh is None else state_shardings(model, PLAIN, mesh).params["base"])
    policy = frozen_reference(MODEL, 16)
    options = {"micro_batches": micro_batches, "mesh": mesh, "reference": lambda params: policy(params["base"])}
    step = make_train_step(model, objective, PLAIN, chunk=16, **options)
    state = init_state(model, PLAIN, jax.random.key(0), mesh, {"base": base})
    assert state.params["base"] is base  # shared, not copied
    batch = batch_for(objective, rows=8, length=16)
    new, metrics = step(state, batch, jax.random.key(1), {"base": base})
    assert new.params["base"] is base
    return new, jax.device_get(metrics)


def test_dpo_starts_at_log_2_without_a_second_copy_and_trains_the_adapter_alone_on_any_mesh():
    new, metrics = run(Dpo())
    np.testing.assert_allclose(metrics["loss"], np.log(2), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(new.params["base"]), BASE)
    assert all(x.dtype == "bfloat16" for x in jax.tree.leaves(new.params["base"]))
    assert not_shared(new.params, new.params) == {}  # the step is not given the reference's weights twice
    shapes = lambda tree: sorted(x.shape for x in jax.tree.leaves(tree) if x.ndim)
    assert shapes(new.opt_state) == shapes(new.params["adapter"])
    assert np.abs(new.params["adapter"]["layers"]["mlp"]["up"]["b"]).max() > 0
    # Eight devices and two micro-batches give the same update.
    many, also = run(Dpo(), mesh=make_mesh(MeshSpec(data=1, **MIXED)), micro_batches=2)
    close(jax.device_get(many.params["adapter"]), jax.device_get(new.params["adapter"]))
    np.testing.assert_allclose(also["grad_norm"], metrics["grad_norm"], rtol=1e-4)
    b = many.params["adapter"]["layers"]["mlp"]["up"]["b"]
    assert b.sharding.shard_shape(b.shape) == (2, 2, 12)  # hidden width over tensor, like the kernel's


@pytest.mark.parametrize("mesh", [None, make_mesh(MeshSpec(data=1, **MIXED))], ids=["one device", "eight"])
def test_a_base_in_host_memory_is_put_where_the_mesh_wants_it(mesh):
    model = make_language_model(dataclasses.replace(CONFIG, adapter=Lora(rank=2, base_dtype="bfloat16")))
    state = init_state(model, PLAIN, jax.random.key(0), mesh, {"base": jax.device_get(BASE)})
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params["base"]), jax.device_get(BASE))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state.params))
    if mesh is not None:
        wanted = state_shardings(model, PLAIN, mesh).params["base"]
        same = jax.tree.map(
            lambda leaf, place: leaf.sharding.is_equivalent_to(place, leaf.ndim), state.params["base"], wanted
        )
        assert all(jax.tree.leaves(same))


@pytest.mark.slow
def test_dropout_is_the_same_on_eight_devices():
    one, many = (run(Nll(), mesh=mesh, dropout=0.2) for mesh in (None, make_mesh(MeshSpec(data=1, **MIXED))))
    close(jax.device_get(many[0].params["adapter"]), jax.device_get(one[0].params["adapter"]))
    assert abs(one[1]["loss"] - run(Nll())[1]["loss"]) < 1e-6  # B is zero at the start
