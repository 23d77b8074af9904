"""Paper 17, DCO: the gradient's factor by its closed form, its ends, and cross-entropy at one sample."""

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.objectives.dco import dco_loss, dco_weight


def test_the_factor_is_the_closed_form_and_finite_at_the_ends():
    x, n = np.array([1e-3, 0.1, 0.5, 0.9]), 16
    closed = n * (1 - x) ** (n - 1) * x / (1 - (1 - x) ** n)
    np.testing.assert_allclose(dco_weight(jnp.log(x), n), closed, rtol=1e-5)
    np.testing.assert_allclose(dco_loss(jnp.log(x), n), -np.log1p(-((1 - x) ** n)), rtol=1e-5)
    ends = jnp.asarray([np.log(1e-30), np.log1p(-1e-7)], jnp.float32)
    slopes = jax.grad(lambda logprob: jnp.sum(dco_loss(logprob, n)))(ends)
    np.testing.assert_allclose(slopes, -dco_weight(ends, n), rtol=1e-5)
    np.testing.assert_allclose(slopes, [-1, 0], atol=1e-6)
    np.testing.assert_array_equal(dco_loss(ends, 1), -ends)
