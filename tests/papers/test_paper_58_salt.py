"""Paper 58, SALT: omega 0 is cross-entropy, a teacher that is the student pulls nowhere, and the switch at its step."""

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.data.selection.learnable import learnability
from mtjax.objectives.salt import Salt, soft_cross_entropy


def test_the_teacher_s_pull_and_the_switch():
    logits = jnp.array([[0.5, -1.0, 2.0]])
    slope = jax.grad(lambda z: soft_cross_entropy(z, logits, 1.0).sum())(logits)
    np.testing.assert_allclose(slope, 0, atol=1e-6)  # teacher = student at temperature 1
    shares = [float(Salt(teacher_steps=10).share(step)) for step in (0, 9, 10)]
    np.testing.assert_allclose(shares, [0.667, 0.667, 0])
    assert float(Salt(omega=0.0).share(0)) == 0
    np.testing.assert_allclose(float(Salt(teacher_steps=10, end="linear").share(5)), 0.667 / 2, rtol=1e-6)


def test_hard_but_learnable():
    nll, top = np.array([1.0, 4.0, 2.0, 6.0]), np.array([True, True, True, False])
    assert learnability(nll, top) == 1.5
