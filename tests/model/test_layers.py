"""RMSNorm by hand: its value and its written-out gradient against float64 and against JAX's own derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.model.layers import rms_norm

EPS = 1e-5


def by_definition(x, scale, kind):
    wide = x.astype(jnp.float32)
    axes = tuple(range(-scale.ndim, 0))
    wide = wide / jnp.sqrt(jnp.mean(wide**2, axes, keepdims=True) + EPS)
    if kind == "scale":
        return wide.astype(x.dtype) * scale.astype(x.dtype)
    return (wide * (1 + scale if kind == "one_plus" else scale)).astype(x.dtype)


def drawn(axes, dtype):
    rng = np.random.default_rng(5)
    x, g = (jnp.asarray(rng.normal(size=(2, 7, 3, 8)), dtype) for _ in range(2))
    return x, jnp.asarray(rng.normal(size=x.shape[-axes:]), jnp.float32), g


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("kind", ["scale", "scale_float32", "one_plus"])
@pytest.mark.parametrize(("dtype", "close"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_value_and_gradient_are_those_of_the_definition(axes, kind, dtype, close):
    x, scale, g = drawn(axes, dtype)
    value, back = jax.vjp(lambda x, scale: rms_norm(x, scale, EPS, kind), x, scale)
    wanted, own = jax.vjp(lambda x, scale: by_definition(x, scale, kind), x, scale)
    np.testing.assert_allclose(value.astype(np.float32), wanted.astype(np.float32), rtol=close)
    for found, expected in zip(back(g), own(g), strict=True):
        assert found.dtype == expected.dtype
        expected = np.asarray(expected, np.float64)
        np.testing.assert_allclose(np.asarray(found, np.float64), expected, atol=close * np.abs(expected).max())


def test_the_gradient_against_differences_in_float64():
    x, scale, g = (np.asarray(each, np.float64) for each in drawn(1, "float32"))

    def loss(x, scale):
        return (g * scale * x / np.sqrt(np.mean(x**2, -1, keepdims=True) + EPS)).sum()

    single = [jnp.asarray(each, jnp.float32) for each in (x, scale)]
    found = jax.grad(lambda x, scale: jnp.sum(g.astype(np.float32) * rms_norm(x, scale, EPS, "scale")), (0, 1))(*single)
    for number, place in ((0, (1, 4, 2, 3)), (0, (0, 0, 0, 0)), (1, (5,))):
        ends = []
        for step in (1e-6, -1e-6):
            moved = [x.copy(), scale.copy()]
            moved[number][place] += step
            ends.append(loss(*moved))
        np.testing.assert_allclose(found[number][place], (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-5)


def test_a_second_derivative_exists():
    x, scale, g = drawn(1, "float32")
    slope = lambda norm: jax.grad(lambda x: jnp.sum(g * norm(x)))
    of = lambda norm: jax.jvp(slope(norm), (x,), (g,))[1]
    written = of(lambda x: rms_norm(x, scale, EPS, "scale"))
    np.testing.assert_allclose(written, of(lambda x: by_definition(x, scale, "scale")), rtol=1e-4, atol=1e-5)
