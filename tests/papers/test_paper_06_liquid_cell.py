"""Paper 6, liquid cells: the golden step of the closed form, and the error falls on a drifting series."""

import jax.numpy as jnp
import numpy as np

from tests.papers.examples import example

cell = example("closed_form_cell")


def test_the_golden_step():
    """Weights `0.5 sin(1.3 k + n)` over their flat index k, n from 1 (specs/models-and-rest.md 18)."""
    shapes = [("z", (4, 5)), ("1", (3, 4)), ("2", (3, 4)), ("ta", (3, 4)), ("tb", (3, 4))]
    named = [pair for name, shape in shapes for pair in ((f"w_{name}", shape), (f"b_{name}", shape[:1]))]
    made = lambda n, shape: jnp.asarray(0.5 * np.sin(1.3 * np.arange(np.prod(shape)) + n).reshape(shape))
    params = {name: made(n, shape) for n, (name, shape) in enumerate(named, 1)}
    x, h = jnp.array([0.5, -1]), jnp.array([0.2, 0.1, -0.3])
    np.testing.assert_allclose(cell.cell(params, x, h, 0.7), [-0.39621931, 0.16692629, 0.43514733], rtol=1e-5)
    plain = cell.cell(params, x, h, 0.7, gate=False)
    np.testing.assert_allclose(plain, [-0.453755, 0.2095478, 0.55391922], rtol=1e-5)


def test_it_follows_a_drifting_series():
    first, last, repeated = cell.main(steps=40)
    assert last < 0.2 * first
    assert last < 0.2 * repeated
