"""The arithmetic of log-probabilities against 50 digits, and its slopes at the ends."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from mtjax.objectives.numerics import NEAREST, below_certain, log1mexp, log_odds, wide

each = lambda fn: jax.vmap(jax.grad(fn))


def test_log1mexp_against_many_digits():
    x = -np.logspace(-37, 2, 79).astype(np.float32)
    x = np.concatenate([x, np.nextafter(np.float32(-np.log(2)), [-1, 0], dtype=np.float32)])
    with mpmath.workdps(60):
        exact = [mpmath.log(-mpmath.expm1(mpmath.mpf(float(v)))) for v in x]
        slope = [-mpmath.exp(mpmath.mpf(float(v))) / -mpmath.expm1(mpmath.mpf(float(v))) for v in x]
    normal = np.array([abs(float(v)) > 1e-30 for v in exact])  # below, float32 has few digits left
    np.testing.assert_allclose(log1mexp(x)[normal], np.float64(exact)[normal], rtol=1e-6)
    np.testing.assert_allclose(log1mexp(x), np.float64(exact), atol=1e-30, rtol=1e-6)
    np.testing.assert_allclose(each(log1mexp)(x), np.float64(slope), atol=1e-30, rtol=2e-6)


def test_log1mexp_at_the_ends():
    assert log1mexp(0.0) == -jnp.inf
    assert log1mexp(-jnp.inf) == 0
    assert jax.grad(log1mexp)(-jnp.inf) == 0
    assert jnp.isnan(log1mexp(jnp.nan))


def test_below_certain_holds_the_value_and_keeps_the_slope():
    x = jnp.array([-jnp.inf, -3.0, NEAREST, -1e-20, 0.0, 1e-7])
    np.testing.assert_allclose(below_certain(x), [-np.inf, -3, NEAREST, NEAREST, NEAREST, NEAREST], rtol=1e-6)
    np.testing.assert_array_equal(each(below_certain)(x), 1)
    assert jnp.isnan(below_certain(jnp.nan))


def test_log_odds_by_hand():
    # log(0.4 / 0.6), log(0.5 / 0.5); held at 1 - 2^-24: 24 log 2
    values = log_odds(jnp.array([jnp.log(0.4), jnp.log(0.5), 0.0]))
    np.testing.assert_allclose(values, [np.log(2 / 3), 0, 24 * np.log(2)], rtol=1e-6, atol=1e-7)
    assert np.isfinite(jax.grad(log_odds)(0.0))


@pytest.mark.parametrize("given", [2, 2.0, np.float16(2), jnp.bfloat16(2), jnp.arange(2)])
def test_wide_is_at_least_float32(given):
    assert wide(given).dtype == jnp.float32
