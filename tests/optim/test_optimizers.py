"""What every registered optimizer must obey; AdamW and Lion by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.errors import InputError
from mtjax.optim import OPTIMIZERS, OptimConfig, make_optimizer
from mtjax.optim.optimizers import decays

every_optimizer = pytest.mark.parametrize("name", list(OPTIMIZERS))
PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "scale": jnp.array([1.0, 2.0]), "bias": jnp.array([0.0, 1.0])}


def constant(name, **more):
    settings = {"learning_rate": 0.1, "schedule": "constant", "clip_norm": 0.0} | more
    return OptimConfig(optimizer=name, **settings)


def run(config, gradients, params=PARAMS):
    """The parameters after one step for each gradient, and the state."""
    optimizer = make_optimizer(config, len(gradients))
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@every_optimizer
def test_it_descends(name):
    """A quadratic bowl: the distance to its bottom falls to a tenth."""
    optimizer = make_optimizer(constant(name, learning_rate=0.02), 300)
    state, params = optimizer.init(PARAMS), PARAMS

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(params, state, params)  # the gradient of |p|^2 / 2 is p
        return optax.apply_updates(params, updates), state

    for _ in range(300):
        params, state = step(params, state)
    assert optax.tree.norm(params) < 0.1 * optax.tree.norm(PARAMS)


@every_optimizer
def test_weight_decay_leaves_scales_and_biases_alone(name):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    after, _ = run(constant(name, weight_decay=0.5), [zeros])
    np.testing.assert_allclose(after["kernel"], 0.95 * PARAMS["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(after["scale"], PARAMS["scale"])
    np.testing.assert_array_equal(after["bias"], PARAMS["bias"])
    assert decays(PARAMS) == {"kernel": True, "scale": False, "bias": False}


@every_optimizer
def test_the_learning_rate_is_the_schedules(name):
    """The first update of a warm-up of 4 steps is a quarter of the full one."""
    gradient = jax.tree.map(jnp.ones_like, PARAMS)
    full, _ = run(constant(name), [gradient])
    quarter, _ = run(constant(name, warmup_steps=4), [gradient])
    moved = lambda after: after["kernel"] - PARAMS["kernel"]
    np.testing.assert_allclose(moved(quarter), moved(full) / 4, rtol=1e-4)


@every_optimizer
def test_it_says_what_it_is(name):
    text = OPTIMIZERS[name].__doc__
    for part in ("Formula:", "Want it", "Source:"):
        assert part in text


def test_the_state_of_the_default_is_that_of_version_0_1():
    """The same tree as `chain(clip, adamw)`, so that its checkpoints stay loadable, and the same numbers."""
    config = OptimConfig(weight_decay=0.1)
    mask = lambda params: {"kernel": True, "scale": False, "bias": False}
    schedule = optax.cosine_decay_schedule(1e-4, 3, 1e-5 / 1e-4)
    old = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, 0.9, 0.95, 1e-8, weight_decay=0.1, mask=mask)
    )
    gradients = [jax.tree.map(lambda x, n=n: jnp.sin(n + x), PARAMS) for n in range(3)]
    params, state, update = PARAMS, old.init(PARAMS), jax.jit(old.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    found, kept = run(config, gradients)
    assert jax.tree.structure(kept) == jax.tree.structure(state)
    chex.assert_trees_all_equal((found, kept), (params, state))


def test_lion_by_hand():
    """Two steps with b1 = 0.9, b2 = 0.95: m = 0.05 after the first, then the sign of 0.9 * 0.05 - 0.1 * 0.2 is +."""
    params = {"kernel": jnp.array([1.0])}
    after, _ = run(constant("lion"), [{"kernel": jnp.array([1.0])}, {"kernel": jnp.array([-0.2])}], params)
    np.testing.assert_allclose(after["kernel"], [0.8], rtol=1e-6)


def test_a_misspelt_optimizer_is_suggested():
    with pytest.raises(InputError, match="unknown optimizer 'adam': did you mean 'adamw'"):
        OptimConfig(optimizer="adam")
