"""Averages of parameters by their golden values, and what a run does with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.errors import InputError
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.optim.averages import AVERAGES, averaged, averages
from mtjax.optim.averages.bema import Bema
from mtjax.optim.averages.ema import Ema
from mtjax.optim.optimizers.sgd import Sgd

PATH = [1.2, 1.1, 0.9]  # the parameter after each update; it starts at 1


def along(average, path=PATH, **settings):
    """The average after each update, along a given path of a parameter."""
    config = OptimConfig(1.0, schedule="constant", clip_norm=0.0, optimizer=Sgd(), average=average, **settings)
    optimizer = make_optimizer(config, len(path))
    params = {"kernel": jnp.array([1.0])}
    state, found, update = optimizer.init(params), [], jax.jit(optimizer.update)
    for wanted in path:
        updates, state = update({"kernel": params["kernel"] - wanted}, state, params)
        params = optax.apply_updates(params, updates)
        found.append(float(averaged(state, params)["kernel"][0]))
    return found


def test_ema_golden_values():
    """specs/field-objectives.md 5.4."""
    assert along(Ema(0.99, warm_up=False)) == pytest.approx([1.002, 1.00298, 1.0019502], rel=1e-6)


def test_ema_with_a_warm_up_by_hand():
    """d is 2/11, 3/12, 4/13 and later `decay`."""
    mean, wanted = 1.0, []
    for t, x in enumerate(PATH, 1):
        d = min(0.3, (1 + t) / (10 + t))
        mean = d * mean + (1 - d) * x
        wanted.append(mean)
    assert along(Ema(0.3)) == pytest.approx(wanted, rel=1e-6)


def test_bema_golden_values():
    """specs/field-objectives.md 5.5."""
    found = along(Bema(every=1))
    assert found == pytest.approx([1.1841110531, 1.1325984510, 0.9642535190], rel=1e-6)


def test_bema_updates_its_mean_now_and_then():
    """With `every=2` the first update adds the pull alone, the second one moves the mean too."""
    first, second = along(Bema(every=2), PATH[:2])
    assert first == pytest.approx(1 + 11**-0.2 * 0.2, rel=1e-6)
    assert second == pytest.approx(1 + 12**-0.5 * 0.1 + 12**-0.2 * 0.1, rel=1e-6)


@pytest.mark.parametrize("name", sorted(AVERAGES))
def test_a_parameter_that_stays_is_its_own_average(name):
    assert along(AVERAGES[name](), [1.0, 1.0]) == [1.0, 1.0]


def test_schedule_free_keeps_its_average_and_frozen_parts_pass():
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
    config = OptimConfig(0.1, schedule="constant", optimizer="schedule_free", frozen=("b",))
    optimizer = make_optimizer(config, 3)
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    inner = next(
        node for node in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, optax.contrib.ScheduleFreeState))
        if isinstance(node, optax.contrib.ScheduleFreeState)
    )  # fmt: skip
    found = averaged(state, params)
    np.testing.assert_allclose(found["a"], (params["a"] - 0.1 * inner.z["a"]) / 0.9, rtol=1e-6)
    np.testing.assert_array_equal(found["b"], [3.0])
    assert np.abs(found["a"] - params["a"]).max() > 1e-3


def test_without_an_average_there_is_none():
    params = {"kernel": jnp.ones(2)}
    state = make_optimizer(OptimConfig(), 3).init(params)
    assert not averages(state)
    assert averaged(state, params) is None


def test_a_name_in_a_config_file_and_bad_values():
    assert OptimConfig(average="ema").average == Ema()
    with pytest.raises(InputError, match="unknown average 'emma': did you mean 'ema'"):
        OptimConfig(average="emma")
    with pytest.raises(InputError, match="optim.average.decay=1.0: expected at least 0 and less than 1"):
        OptimConfig(average=Ema(1.0))
