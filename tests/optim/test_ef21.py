"""EF21 against NumPy, on heterogeneous quadratics, on simulated devices and in training steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.optim.compression.ef21 import Ef21, kept_count, power_of_two, step_sizes, top_k

WORKERS, SIZE = 8, 12
MESH = {"data": 4, "fsdp": 2}
PARAMS = {"kernel": np.zeros((SIZE, 2), np.float32), "bias": np.zeros(3, np.float32)}


def gradients(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=(WORKERS, *x.shape)).astype(np.float32), PARAMS)


def reference(settings, steps):
    """The means of NumPy, in float64, parameter by parameter."""
    weights = settings.scales / WORKERS
    state = jax.tree.map(lambda x: np.zeros((WORKERS, x.size)), PARAMS)
    means = []
    for step in range(steps):
        for name, gradient in gradients(step).items():
            for worker in range(WORKERS):
                wanted = gradient[worker].reshape(-1).astype(np.float64) / (WORKERS * weights[worker])
                off = wanted - state[name][worker]
                if settings.compressor == "top_k":
                    keep = np.argsort(-np.abs(off))[: kept_count(off.size, settings.share)]
                    sent = np.zeros_like(off)
                    sent[keep] = off[keep]
                else:
                    down = 2.0 ** np.floor(np.log2(np.abs(off)))
                    sent = np.sign(off) * np.where(np.abs(off) >= 1.5 * down, 2 * down, down)
                state[name][worker] += sent
        means.append({name: (weights @ own).reshape(PARAMS[name].shape) for name, own in state.items()})
    return means


def ours(settings, steps, mesh=None):
    transform = settings()
    with jax.set_mesh(mesh) if mesh is not None else jax.default_device(jax.devices()[0]):
        state, update, means = transform.init(PARAMS), jax.jit(transform.update), []
        for step in range(steps):
            mean, state = update(gradients(step), state)
            means.append(jax.device_get(mean))
    return means, jax.device_get(state)


UNEVEN = tuple(float(worker + 1) for worker in range(WORKERS))
SETTINGS = {
    "sparse": Ef21(share=0.2),
    "dense": Ef21(share=0.2, exchange="dense"),
    "weighted": Ef21(share=0.2, smoothness=UNEVEN),
    "powers": Ef21(compressor="power_of_two", smoothness=UNEVEN),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_it_equals_numpy_with_and_without_a_mesh_and_the_mean_is_that_of_the_workers(name):
    settings, mesh = SETTINGS[name], make_mesh(MeshSpec(**MESH))
    wanted = reference(settings, 4)
    for place in (None, mesh):
        means, state = ours(settings, 4, place)
        for own, theirs in zip(means, wanted, strict=True):
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=2e-6), own, theirs)
        drift = jax.tree.map(lambda g, mean: np.abs(g.mean(0) - mean).max(), *state[:2])
        assert np.max(jax.tree.leaves(drift)) < 1e-6  # NaN is not passed over


def test_the_weighted_form_is_the_plain_one_for_top_k_but_not_for_powers_of_two():
    plain, weighted = ours(SETTINGS["sparse"], 4)[0], ours(SETTINGS["weighted"], 4)[0]
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), weighted, plain)
    plain = ours(Ef21(compressor="power_of_two"), 2)[0]
    assert np.abs(ours(SETTINGS["powers"], 2)[0][-1]["kernel"] - plain[-1]["kernel"]).max() > 1e-3


def test_compressors_by_hand():
    values, places = top_k(jnp.array([1.0, -5.0, 2.0, 0.5]), 2)
    assert (values.tolist(), places.tolist()) == ([-5.0, 2.0], [1, 2])
    assert power_of_two(jnp.array([1.5, 1.49, -3.0, 0.0])).tolist() == [2.0, 1.0, -4.0, 0.0]
    assert [kept_count(10, share) for share in (0.01, 0.2, 0.21, 1.0)] == [1, 2, 3, 10]
    rng = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    assert np.abs(np.asarray(power_of_two(jnp.asarray(rng))) / rng - 1).max() <= 1 / 3 + 1e-6
    assert Ef21(share=0.01).bytes_of(1000) == 80
    assert Ef21(share=0.9).bytes_of(1000) == 4000
    assert Ef21(compressor="power_of_two").bytes_of(800) == 900


def test_the_step_size_of_the_paper():
    """L = 1, 1, 1, 100: quadratic mean 50.01, arithmetic mean 25.75; Top1 of 12 has xi = (1 + sqrt(11/12)) 12 - 1."""
    constants, alpha = (1.0, 1.0, 1.0, 100.0), 1 / 12
    xi = (1 + np.sqrt(1 - alpha)) / alpha - 1
    old, new = step_sizes(constants, alpha, 20.0)
    assert 1 / old == pytest.approx(20 + np.sqrt(10003 / 4) * xi)
    assert 1 / new == pytest.approx(20 + 25.75 * xi)
    assert Ef21(workers=4, share=alpha, smoothness=constants).step_size(20.0) == new
    assert step_sizes(constants, 1.0)[1] == pytest.approx(1 / 25.75)  # nothing is lost: gradient descent
    with pytest.raises(InputError, match="needs a constant for each worker"):
        Ef21().step_size()
    with pytest.raises(InputError, match="expected 8 numbers above 0, one for each of optim.compression.workers"):
        Ef21(smoothness=(1.0, 2.0))


def test_on_heterogeneous_quadratics_top_k_alone_stalls_and_ef21_does_not():
    """Eight losses `|A_i x - b_i|^2 / 2`, each with a minimum of its own. Two of twelve entries are sent."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(WORKERS, 16, SIZE)) * rng.uniform(0.3, 1.0, (WORKERS, 1, 1))
    b = 0.15 * rng.normal(size=(WORKERS, 16))
    hessians = np.einsum("wij,wik->wjk", a, a)
    constants = np.linalg.eigvalsh(hessians)[:, -1]
    lipschitz = np.linalg.eigvalsh(hessians.mean(0))[-1]
    settings = Ef21(share=2 / SIZE, smoothness=tuple(constants.tolist()))
    rate = settings.step_size(float(lipschitz))
    assert rate > 1.05 * step_sizes(settings.smoothness, settings.contraction, float(lipschitz))[0]
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    of_workers = lambda x: jnp.einsum("wij,wi->wj", a, jnp.einsum("wij,j->wi", a, x) - b)
    transform = settings()

    def with_feedback(carry, _):
        x, state = carry
        mean, state = transform.update(of_workers(x), state)
        return (x - rate * mean, state), None

    def without(x, _):
        def sent(row):
            values, places = top_k(row, 2)
            return jnp.zeros(SIZE).at[places].set(values)

        return x - rate * jax.vmap(sent)(of_workers(x)).mean(0), None

    hessians, slope = (np.einsum("wij,wi...->j...", *map(np.float64, pair)) / WORKERS for pair in ((a, a), (a, b)))
    norm = lambda x: float(np.linalg.norm(hessians @ np.float64(x) - slope))
    start = jnp.zeros(SIZE)
    found = jax.lax.scan(with_feedback, (start, transform.init(start)), None, 5_000)[0][0]
    alone = jax.lax.scan(without, start, None, 5_000)[0]
    assert norm(start) > 0.5
    assert norm(found) < 1e-6
    assert norm(alone) > 1e-2 * norm(start)


def test_share_1_is_the_optimizer_itself():
    config = OptimConfig(0.1, schedule="constant", optimizer="sgd", compression=Ef21(share=1.0))
    plain = OptimConfig(0.1, schedule="constant", optimizer="sgd")
    one, many = make_optimizer(plain, 3), make_optimizer(config, 3)
    assert many.workers == WORKERS
    a, b, first, second = PARAMS, PARAMS, one.init(PARAMS), many.init(PARAMS)
    plainly, compressed = jax.jit(one.update), jax.jit(many.update)
    for step in range(3):
        whole = gradients(step)
        updates, first = plainly(jax.tree.map(lambda g: g.mean(0), whole), first, a)
        a = optax.apply_updates(a, updates)
        updates, second = compressed(whole, second, b)
        b = optax.apply_updates(b, updates)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), b, a)
    found = many.metrics(second)
    assert float(found["compression/error"]) < 1e-6
    assert float(found["compression/share"]) == 1
