"""Paper 2, EF21: Top-K alone stalls on quadratics that disagree, EF21 converges; sending all is gradient descent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.optim.compression.ef21 import Ef21, step_sizes, top_k

WORKERS, SIZE = 3, 4


def test_top_k_alone_stalls_and_ef21_reaches_the_minimum():
    rng = np.random.default_rng(0)
    curvature, b = rng.uniform(0.5, 2, (WORKERS, SIZE)), rng.normal(size=(WORKERS, SIZE)) * 3
    gradients = lambda x: jnp.asarray(curvature * np.asarray(x) - b, jnp.float32)
    best = b.mean(0) / curvature.mean(0)
    ends = {}
    for share in (1 / SIZE, 1.0):
        transform = Ef21(workers=WORKERS, share=share)()
        state, update, x = transform.init(jnp.zeros(SIZE)), jax.jit(transform.update), np.zeros(SIZE)
        for _ in range(400):
            mean, state = update(gradients(x), state)
            x = x - 0.1 * np.asarray(mean)
        ends[share] = np.abs(x - best).max()
    alone = np.zeros(SIZE)
    for _ in range(400):
        sent = np.zeros((WORKERS, SIZE))
        for worker, row in enumerate(np.asarray(gradients(alone))):
            values, places = top_k(jnp.asarray(row), 1)
            sent[worker, np.asarray(places)] = values
        alone = alone - 0.1 * sent.mean(0)
    assert ends[1 / SIZE] < 1e-5
    assert ends[1.0] < 1e-5
    assert np.abs(alone - best).max() > 0.1


def test_the_step_size_has_the_arithmetic_mean():
    """L = 1, 1, 1, 100: quadratic mean 50.01, arithmetic mean 25.75; of 12 entries one is sent."""
    xi = (1 + np.sqrt(11 / 12)) * 12 - 1
    old, new = step_sizes((1.0, 1.0, 1.0, 100.0), 1 / 12, 20.0)
    assert (1 / old, 1 / new) == pytest.approx((20 + np.sqrt(10003 / 4) * xi, 20 + 25.75 * xi))
