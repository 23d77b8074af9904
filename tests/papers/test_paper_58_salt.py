"""Paper 58, SALT: a first stage of distillation from a small model, and the data that it chooses for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.selection.learnable import learnability
from mtjax.objectives.salt import Salt, soft_cross_entropy


def test_hard_but_learnable_by_hand():
    # cross-entropies of four tokens, the last of which is not among the small model's top k
    nll, top = np.array([1.0, 4.0, 2.0, 6.0]), np.array([True, True, True, False])
    assert learnability(nll, top) == 1.5  # the median of 1, 4, 2, 0
    assert learnability(nll, top, "dropped") == 2.0  # of 1, 4, 2
    assert np.isnan(learnability(nll, np.zeros(4, bool)))  # nothing is learnable: last in every ranking


def test_the_gradient_of_the_mixed_loss_and_its_end():
    """(1 - w) CE + w KD has the gradient softmax(student) - ((1 - w) one-hot + w teacher), the teacher sharpened."""
    logits, teacher, salt = jnp.array([0.2, -1.0, 0.7]), jnp.array([1.0, 0.0, -0.5]), Salt(teacher_steps=10)
    weight, q = float(salt.share(9)), jax.nn.softmax(teacher / salt.rho)

    def loss(x):
        return -(1 - weight) * jax.nn.log_softmax(x)[2] + weight * soft_cross_entropy(x, teacher, salt.rho)

    expected = jax.nn.softmax(logits) - ((1 - weight) * jnp.array([0.0, 0.0, 1.0]) + weight * q)
    np.testing.assert_allclose(jax.grad(loss)(logits), expected, atol=1e-6)
    assert weight == pytest.approx(0.667)
    assert float(salt.share(10)) == 0  # then plain cross-entropy
    same = jax.grad(lambda x: soft_cross_entropy(x, teacher))(teacher)
    np.testing.assert_allclose(same, np.zeros(3), atol=1e-6)  # teacher = student
    assert float(Salt(omega=0.0).share(0)) == 0  # plain cross-entropy from the start
    np.testing.assert_allclose(float(Salt(teacher_steps=10, end="linear").share(5)), 0.667 / 2, rtol=1e-6)
