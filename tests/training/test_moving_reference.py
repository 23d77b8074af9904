"""A reference that moves: by hand, on any mesh, with an adapter, resumed bit by bit, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model.adapters.lora import Lora
from mtjax.model.language_model import make_language_model
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.psft import Psft
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from mtjax.training.reference import (
    Reference,
    ReferenceConfig,
    Refresh,
    frozen_reference,
    reference_params,
    refresh_of,
    with_moving_reference,
)
from mtjax.training.state import init_state
from mtjax.training.step import make_train_step
from tests.objectives.fakes import random_batch
from tests.test_every_objective_trains import config, lines
from tests.training.test_step import CONFIG, MODEL, START, close

SGD = optax.sgd(0.5)


def test_a_renewal_by_hand():
    params, reference = {"a": jnp.array([1.0, 3.0]), "value": jnp.zeros(1)}, {"a": jnp.array([0.0, 1.0])}
    for every, mix, step, expected in (
        (2, 0.6, 2, [0.6, 2.2]), (2, 0.6, 3, [0.0, 1.0]), (1, 0.25, 7, [0.25, 1.5]), (5, 1.0, 10, [1.0, 3.0]),
    ):  # fmt: skip
        found = Refresh(every, mix).after(jnp.int32(step), reference, params)
        assert found.keys() == {"a"}
        np.testing.assert_allclose(found["a"], expected, rtol=1e-6)


def steps(objective, refresh, *, count=3, mesh=None, model=MODEL, start=None):
    """States and metrics after each of some updates on different batches."""
    policy = frozen_reference(model, 16)
    step = make_train_step(model, objective, SGD, mesh=mesh, reference=policy, refresh=refresh, chunk=16)
    state = with_moving_reference(model, init_state(model, SGD, jax.random.key(0), mesh, start))
    out = []
    for number in range(count):
        batch = random_batch(rows=8, length=16, pair=objective.task == "pair", seed=number)
        state, metrics = step(state, batch, jax.random.key(number))
        out.append(jax.device_get((state, metrics)))
    return out


@pytest.mark.slow
def test_the_reference_follows_and_the_loss_is_against_it():
    """The second loss is log 2 again where the reference has become the policy, and the first renewal mixes."""
    refreshed = steps(Dpo(), Refresh(1, 1.0))
    for state, metrics in refreshed:
        np.testing.assert_allclose(metrics["loss"], np.log(2), rtol=1e-6)
        jax.tree.map(np.testing.assert_array_equal, state.reference, state.params)
    mixed = steps(Dpo(), Refresh(2, 0.25))
    close(mixed[0][0].reference, START, 0)
    close(mixed[1][0].reference, jax.tree.map(lambda q, p: 0.75 * q + 0.25 * p, START, mixed[1][0].params), 1e-6)
    close(mixed[2][0].reference, mixed[1][0].reference, 0)
    assert abs(mixed[1][1]["loss"] - np.log(2)) > 1e-4


@pytest.mark.slow
def test_without_a_renewal_it_is_the_fixed_reference():
    """Up to rounding: the reference is part of another program, whose sums XLA orders differently."""
    never = steps(Dpo(), Refresh(100, 0.6))
    step = make_train_step(MODEL, Dpo(), SGD, reference=frozen_reference(MODEL, 16), chunk=16)
    state = init_state(MODEL, SGD, jax.random.key(0))
    for number, (_, told) in enumerate(never):
        batch = random_batch(rows=8, length=16, pair=True, seed=number)
        state, metrics = step(state, batch, jax.random.key(number), START)
        np.testing.assert_allclose(metrics["loss"], told["loss"], rtol=1e-6)
    close(state.params, never[-1][0].params, 1e-6)


@pytest.mark.slow
def test_eight_devices_equal_one():
    one = steps(Dpo(), Refresh(2, 0.5))[-1]
    many = steps(Dpo(), Refresh(2, 0.5), mesh=make_mesh(MeshSpec(data=1, fsdp=2, tensor=2, context=2)))[-1]
    close(many[0].reference, one[0].reference)
    np.testing.assert_allclose(many[1]["loss"], one[1]["loss"], rtol=1e-5)


def test_the_first_update_of_each_outer_batch_of_psft_is_cross_entropy():
    told = [metrics for _, metrics in steps(Psft(), Refresh(2, 1.0), count=4)]
    first, later = told[::2], told[1::2]
    for metrics in first:
        assert metrics["clipped"] == 0
        np.testing.assert_allclose([metrics["loss"], metrics["ratio"]], [-1, 1], rtol=1e-6)
    assert all(abs(metrics["ratio"] - 1) > 1e-3 for metrics in later)


@pytest.mark.slow
def test_an_adapter_is_renewed_and_its_base_shared():
    model = make_language_model(dataclasses.replace(CONFIG, adapter=Lora(rank=2)))
    base = {"base": jax.jit(MODEL.init)(jax.random.key(0))}
    state, metrics = steps(Dpo(), Refresh(1, 1.0), count=2, model=model, start=base)[-1]
    assert state.reference.keys() == {"adapter"}
    jax.tree.map(np.testing.assert_array_equal, state.reference["adapter"], state.params["adapter"])
    np.testing.assert_allclose(metrics["loss"], np.log(2), rtol=1e-6)
    assert reference_params(model, state, None).keys() == {"adapter", "base"}


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_a_resumed_run_is_the_one_that_ran_through(tmp_path):
    moving = ReferenceConfig(refresh_every=2, mix=0.6)
    settings = {"reference": moving}
    through, broken = tmp_path / "through", tmp_path / "broken"
    whole = train(config(Dpo(), through, steps=5, **settings))
    train(config(Dpo(), broken, steps=3, **settings))
    again = train(config(Dpo(), broken, steps=5, **settings))
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((whole.state, again.state)))
    assert lines(through)[4] == lines(broken)[4]  # the held-out loss is against the moving reference, too
    loaded = load_any(str(broken / "run"))
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((loaded.params, whole.state.params)))
    assert not all(
        np.array_equal(q, p) for q, p in zip(*map(jax.tree.leaves, (whole.state.reference, loaded.params)), strict=True)
    )


def test_what_is_refused():
    with pytest.raises(InputError, match="cached log-probs are those of one model"):
        ReferenceConfig(kind="cached", refresh_every=8)
    with pytest.raises(InputError, match=r"reference.mix=0.6 does nothing without reference.refresh_every"):
        ReferenceConfig(mix=0.6)
    with pytest.raises(InputError, match=r"reference.refresh_every=0"):
        ReferenceConfig(refresh_every=0)
    assert refresh_of(ReferenceConfig(refresh_every=8), Dpo()) == (8, 1.0)
    assert refresh_of(ReferenceConfig(), Dpo()) is None
    assert Reference().refresh is None
