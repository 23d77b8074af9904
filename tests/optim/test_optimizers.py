"""What every registered optimizer must obey; AdamW and Lion by hand."""

import functools
import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.errors import InputError
from mtjax.optim import OPTIMIZERS, OptimConfig, make_optimizer
from mtjax.optim.optimizers.adafactor import Adafactor
from mtjax.optim.optimizers.adamw import AdamW
from mtjax.optim.optimizers.lion import Lion
from mtjax.optim.optimizers.sgd import Sgd
from mtjax.optim.optimizers.sophia import Sophia
from mtjax.optim.parameters import decays

every_optimizer = pytest.mark.parametrize("name", list(OPTIMIZERS))
PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "scale": jnp.array([1.0, 2.0]), "bias": jnp.array([0.0, 1.0])}


def constant(name, **more):
    settings = {"learning_rate": 0.1, "schedule": "constant", "clip_norm": 0.0} | more
    return OptimConfig(optimizer=name, **settings)


def update_of(optimizer):
    """Its update; the gradient at other parameters is that of a quadratic bowl."""
    return jax.jit(functools.partial(optax.with_extra_args_support(optimizer).update, gradient_of=lambda p: p))


def run(config, gradients, params=PARAMS):
    """The parameters after one step for each gradient, and the state."""
    optimizer = make_optimizer(config, len(gradients))
    state = optimizer.init(params)
    update = update_of(optimizer)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@every_optimizer
def test_it_descends(name):
    """A quadratic bowl: the distance to its bottom falls to a tenth."""
    rate = getattr(OPTIMIZERS[name], "usual_rate", 0.02)
    optimizer = make_optimizer(constant(name, learning_rate=rate), 300)
    state, params, update = optimizer.init(PARAMS), PARAMS, update_of(optimizer)

    @jax.jit
    def step(params, state):
        updates, state = update(params, state, params)  # the gradient of |p|^2 / 2 is p
        return optax.apply_updates(params, updates), state

    for _ in range(300):
        params, state = step(params, state)
    assert optax.tree.norm(params) < 0.1 * optax.tree.norm(PARAMS)


@every_optimizer
def test_weight_decay_leaves_scales_and_biases_alone(name):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    if name == "prodigy":
        with pytest.raises(InputError, match="set --optim.weight_decay=0"):
            run(constant(name, weight_decay=0.5), [zeros])
        return
    after, _ = run(constant(name, weight_decay=0.5), [zeros])
    np.testing.assert_allclose(after["kernel"], 0.95 * PARAMS["kernel"], rtol=1e-6)
    np.testing.assert_allclose(after["scale"], PARAMS["scale"], rtol=1e-6)
    np.testing.assert_array_equal(after["bias"], PARAMS["bias"])
    assert decays(PARAMS) == {"kernel": True, "scale": False, "bias": False}
    assert decays({"embed": {"embedding": jnp.ones(2)}}) == {"embed": {"embedding": False}}
    after, _ = run(constant(name, weight_decay=0.5, weight_decay_exclude=("kernel",)), [zeros])
    np.testing.assert_allclose(after["kernel"], PARAMS["kernel"], rtol=1e-6)
    np.testing.assert_allclose(after["scale"], 0.95 * PARAMS["scale"], rtol=1e-6)


@every_optimizer
def test_the_learning_rate_is_the_schedules(name):
    """The first update of a warm-up of 4 steps is a quarter of the full one."""
    gradient = jax.tree.map(jnp.ones_like, PARAMS)

    def first(config):
        optimizer = make_optimizer(config, 10)
        return update_of(optimizer)(gradient, optimizer.init(PARAMS), PARAMS)[0]["kernel"]

    full = first(constant(name))
    assert (np.asarray(full) < 0).all()
    np.testing.assert_allclose(first(constant(name, warmup_steps=4)), full / 4, rtol=1e-4)


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


def test_a_bfloat16_moment_is_near_and_smaller():
    """Relative error of the first moment: at most 2^-8 per step; the parameters differ by less than 1 % of the way."""
    gradients = [jax.tree.map(lambda x, n=n: jnp.sin(n + x), PARAMS) for n in range(10)]
    for cls in (AdamW, Lion):
        exact, _ = run(constant(cls()), gradients)
        near, state = run(constant(cls(moment_type="bfloat16")), gradients)
        assert any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(state))
        way = optax.tree.norm(optax.tree.sub(exact, PARAMS))
        assert optax.tree.norm(optax.tree.sub(exact, near)) < 0.01 * way


def test_sgd_by_hand():
    """Momentum 0.5 at rate 0.1: moments 1 and 0.5 - 2 = -1.5; with Nesterov's step ahead 1.5 and -2.75."""
    params, gradients = {"kernel": jnp.array([1.0])}, [{"kernel": jnp.array([1.0])}, {"kernel": jnp.array([-2.0])}]
    after, _ = run(constant(Sgd(momentum=0.5)), gradients, params)
    np.testing.assert_allclose(after["kernel"], [1 - 0.1 + 0.15], rtol=1e-6)
    after, _ = run(constant(Sgd(momentum=0.5, nesterov=True)), gradients, params)
    np.testing.assert_allclose(after["kernel"], [1 - 0.15 + 0.275], rtol=1e-6)
    assert not jax.tree.leaves(make_optimizer(constant(Sgd(), clip_norm=1.0), 3).init(params)[1][0])


def test_adafactor_by_hand_and_its_state_is_a_row_and_a_column():
    """First step: v is g^2 itself, so that a factored v of rank one gives the sign of the gradient."""
    rows, columns = jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, -3.0])
    params, gradient = {"kernel": jnp.zeros((3, 2))}, {"kernel": rows[:, None] * columns}
    config = constant(Adafactor(min_size=2))
    after, state = run(config, [gradient], params)
    np.testing.assert_allclose(after["kernel"], -0.1 * np.sign(gradient["kernel"]), rtol=1e-5)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(state) if leaf.size > 1) == [(2,), (3,)]
    relative = constant(Adafactor(min_size=2, relative=True))
    after, _ = run(relative, [gradient], {"kernel": jnp.full((3, 2), 5.0)})
    np.testing.assert_allclose(after["kernel"], 5 - 0.5 * np.sign(gradient["kernel"]), rtol=1e-5)


def test_schedule_free_by_hand():
    """Gradient 1 twice, at rate 1 and b1 = 0.5: z is 1, 0, -1, and x the mean of the last two."""
    config = constant("schedule_free", learning_rate=1.0, b1=0.5)
    params, gradient = {"kernel": jnp.array([1.0])}, {"kernel": jnp.array([1.0])}
    after, state = run(config, [gradient, gradient], params)
    z, x = -1.0, (0.0 + -1.0) / 2
    np.testing.assert_allclose(after["kernel"], [0.5 * z + 0.5 * x], rtol=1e-5)


def test_sophia_by_hand():
    """The bowl p^2 / 2 has Hessian 1, whatever the signs. h = 0 in step 1: clipped. Then h = 0.5: m' / (0.5 h).

    Rate 0.1, b1 = 0.5, gamma = 0.5, b2 = 0.5: p = 2 - 0.1 = 1.9; m' = (0.25 * 2 + 0.5 * 1.9) / 0.75 = 1.9333, clipped
    to 1 by h gamma = 0.25. With gamma = 10 the second update is 1.9333 / 5.
    """
    bowl, start = [{"kernel": jnp.array([2.0])}, {"kernel": jnp.array([1.9])}], {"kernel": jnp.array([2.0])}
    few = {"b1": 0.5, "b2": 0.5}
    after, state = run(constant(Sophia(gamma=0.5, every=10), **few), bowl, start)
    np.testing.assert_allclose(after["kernel"], [1.8], rtol=1e-6)
    after, _ = run(constant(Sophia(gamma=10.0, every=10), **few), bowl, start)
    np.testing.assert_allclose(after["kernel"], [1.9 - 0.1 * 1.45 / 0.75 / 5], rtol=1e-5)
    optimizer = make_optimizer(constant("sophia"), 3)
    with pytest.raises(InputError, match="asks for the gradient at other parameters"):
        optimizer.update(start, optimizer.init(start), start)


def test_adamw_equals_torch_over_five_steps_with_clipping_and_decay():
    """Golden values of torch 2.13, `tests/oracles/adamw_with_torch.py`; torch adds 1e-6 to the norm that it clips."""
    golden = json.loads(pathlib.Path(__file__).with_name("adamw_torch.json").read_text())
    arrays = lambda tree: {name: jnp.asarray(value, jnp.float32) for name, value in tree.items()}
    config = OptimConfig(weight_decay=0.1, schedule="constant", **golden["settings"])
    optimizer = make_optimizer(config, 5)
    params = arrays(golden["start"])
    state = optimizer.init(params)
    for gradient, wanted in zip(golden["gradients"], golden["params"], strict=True):
        updates, state = optimizer.update(arrays(gradient), state, params)
        params = optax.apply_updates(params, updates)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), params, arrays(wanted))
