"""DCO's loss and weight: the spec's tables, many digits, and the ends."""

import itertools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from mtjax.objectives import dco

# Compiled, as training has them; `test_compiled_equals_plain` has them as they are.
dco_loss, dco_weight = jax.jit(dco.dco_loss), jax.jit(dco.dco_weight)
slopes = jax.jit(jax.grad(lambda logprob, n: jnp.sum(dco.dco_loss(logprob, n))))

POINTS = [-92.1, -20.0, -8.0, -math.log(256), -2.0, -math.log(2)]
LOSSES = {  # at POINTS; made with many digits (spec, section 1d)
    1: [92.1, 20, 8, 5.54517744, 2, 0.693147181],
    16: [89.3274113, 17.2274113, 5.22992647, 2.80178021, 0.102725789, 1.52589055e-5],
    256: [86.5548226, 14.4548228, 2.49729384, 0.457537266, 6.808e-17, 0],
    4096: [83.7822338, 11.6822381, 0.291717306, 1.0906e-7, 0, 0],
}
WEIGHTS = {
    1: [1, 1, 1, 1, 1, 1],
    16: [1, 0.999999985, 0.997485579, 0.970914372, 0.270932015, 2.4414435e-4],
    256: [1, 0.999999737, 0.957828978, 0.582452838, 2.728e-15, 0],
    4096: [1, 0.99999578, 0.465582274, 1.7519e-6, 0, 0],
}


@pytest.mark.parametrize("n", LOSSES)
def test_the_tables_of_the_spec(n):
    logprob = jnp.array(POINTS)
    # Four and five digits are given of the smallest numbers: 1e-4 there, 1e-5 elsewhere.
    for made, table in ((dco_loss(logprob, n), LOSSES[n]), (dco_weight(logprob, n), WEIGHTS[n])):
        assert made.dtype == jnp.float32
        few = np.array([0 < value < 1e-5 for value in table])
        np.testing.assert_allclose(made[~few], np.array(table)[~few], rtol=1e-5, atol=1e-30)
        np.testing.assert_allclose(made[few], np.array(table)[few], rtol=1e-4)


def test_more_of_the_spec():
    np.testing.assert_allclose([dco_loss(-500.0, 256), dco_weight(-500.0, 256)], [494.454823, 1], rtol=1e-6)
    steps = jnp.log(jnp.array([0.5, 0.1, 0.9]))
    np.testing.assert_allclose(dco_loss(steps, 4), [0.0645385, 1.0674044, 1.000050e-4], rtol=1e-5)
    np.testing.assert_allclose(dco_weight(steps, 4), [0.2666667, 0.8479209, 3.60036e-3], rtol=1e-5)


def test_the_limit_of_large_n_by_hand():
    # With u = n p: F = u / (e^u - 1) and loss -log(1 - e^-u); p = u / 1e6
    for u, weight in ((1.0, 0.582), (2.0, 0.313), (3.0, 0.157), (5.0, 0.034)):
        logprob = math.log(u / 1e6)
        np.testing.assert_allclose(dco_weight(logprob, 1e6), u / math.expm1(u), rtol=2e-5)
        np.testing.assert_allclose(dco_weight(logprob, 1e6), weight, atol=6e-4)
        np.testing.assert_allclose(dco_loss(logprob, 1e6), -math.log(-math.expm1(-u)), rtol=2e-5)


GRID_N = [1.0, 1.5, 2, 3, 7.25, 16, 256, 4096, 65536, 1e6]
GRID_LOGPROB = np.float32(
    np.r_[
        -np.logspace(-30, 5, 106),
        -1e-9,
        -1e-8,
        -1e-4,
        -700,
        [-12 - math.log(n) + e for n in GRID_N for e in (-0.01, 0.01)],
    ]
)


def exact(logprob, n):
    """Loss and weight with 60 digits behind whatever 1 - p needs."""
    with mpmath.workdps(60 + int(max(0, -logprob / 2.3))):
        logprob, n = mpmath.mpf(float(logprob)), mpmath.mpf(n)
        log_wrong = mpmath.log(-mpmath.expm1(logprob)) if logprob > -1 else mpmath.log1p(-mpmath.exp(logprob))
        missed = mpmath.exp(n * log_wrong)
        covered = -mpmath.expm1(n * log_wrong)
        loss = -mpmath.log1p(-missed) if missed < 0.5 else -mpmath.log(covered)
        return loss, n * mpmath.exp((n - 1) * log_wrong + logprob) / covered


def test_against_many_digits_on_a_grid():
    """Relative error at most 1e-5 wherever float32 has digits left; measured 4.4e-6, where 66 nats cancel."""
    logprob, n = (x.ravel() for x in np.meshgrid(GRID_LOGPROB[GRID_LOGPROB > -2000], np.float32(GRID_N)))
    loss, weight = zip(*(exact(*point) for point in zip(logprob, n.tolist(), strict=True)), strict=True)
    np.testing.assert_allclose(dco_loss(logprob, n), np.float64(loss), rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(dco_weight(logprob, n), np.float64(weight), rtol=1e-5, atol=1e-30)


def test_far_below_it_is_cross_entropy_less_log_n():
    for logprob, n in itertools.product([-2e3, -1e4, -1e5], GRID_N):
        np.testing.assert_allclose(dco_loss(logprob, n), -logprob - math.log(n), rtol=1e-6)
        assert dco_weight(logprob, n) == 1


def test_compiled_equals_plain():
    logprob, n = jnp.array([-1e5, -20.0, -1.0, 0.0]), jnp.array([[1.0], [256.0]])
    np.testing.assert_allclose(dco.dco_loss(logprob, n), dco_loss(logprob, n), rtol=1e-6)
    np.testing.assert_allclose(dco.dco_weight(logprob, n), dco_weight(logprob, n), rtol=1e-6)


def test_the_gradient_is_minus_the_weight_and_finite_everywhere():
    logprob, n = (
        x.ravel() for x in np.meshgrid(np.r_[GRID_LOGPROB, 0, 1e-7].astype(np.float32), np.float32([*GRID_N, 0.5]))
    )
    gradient = slopes(logprob, n)
    assert np.isfinite(gradient).all()
    assert np.isfinite(dco_loss(logprob, n)).all()
    np.testing.assert_array_equal(gradient, -dco_weight(logprob, n))


def test_the_gradient_is_the_slope():
    """Central differences in float64, where the same code runs with more digits."""
    with jax.enable_x64(True):
        x, n = (jnp.asarray(a.ravel()) for a in np.meshgrid(-np.logspace(-2, 1.5, 15), [1.5, 4.0, 64.0]))
        slope = (dco_loss(x + 1e-5 * x, n) - dco_loss(x - 1e-5 * x, n)) / (2e-5 * x)
        np.testing.assert_allclose(slopes(x, n), slope, rtol=1e-7, atol=1e-12)
        assert dco_loss(x, n).dtype == jnp.float64


def test_one_sample_is_cross_entropy_to_the_bit():
    logprob = jnp.concatenate([jnp.asarray(GRID_LOGPROB), jnp.array([0.0, -0.0, 1e-7])])
    for n in (1, jnp.ones_like(logprob), jnp.int32(1)):
        np.testing.assert_array_equal(dco_loss(logprob, n), -logprob)
        np.testing.assert_array_equal(dco_weight(logprob, n), 1)
        np.testing.assert_array_equal(slopes(logprob, n), -1)


@pytest.mark.parametrize("n", [1.5, 2, 256, 1e6])
def test_the_ends(n):
    assert dco_loss(0.0, n) == 0
    assert dco_weight(0.0, n) == 0
    assert slopes(0.0, n) == 0
    assert dco_loss(-jnp.inf, n) == jnp.inf
    assert dco_weight(-jnp.inf, n) == 1  # a success rate of 0
    assert slopes(-jnp.inf, n) == -1
    assert jnp.isnan(dco_loss(jnp.nan, n))
    assert jnp.isnan(dco_weight(jnp.nan, n))


def test_n_broadcasts_and_gets_no_gradient():
    assert dco_loss(jnp.zeros((2, 1)) - 3, jnp.array([1, 4, 16])).shape == (2, 3)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(dco_loss))(jnp.array([-3.0, -3.0]), jnp.array([1.0, 4.0])), dco_loss(-3.0, jnp.array([1, 4]))
    )
    assert jax.jit(jax.grad(dco_loss, argnums=1))(-3.0, 4.0) == 0
    assert jax.jit(jax.grad(dco_weight))(-3.0, 4.0) == 0


def test_the_weight_falls_with_p_and_n():
    weights = dco_weight(jnp.linspace(-12, -0.01, 100)[:, None], jnp.array([2.0, 16.0, 256.0]))
    assert np.all(np.diff(weights, axis=0) <= 0)
    assert np.all(np.diff(weights, axis=1) <= 0)
