"""SimPO by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.simpo import Simpo, simpo_loss
from tests.objectives.fakes import batch_of, outcome


def test_by_hand():
    # -log sigmoid(2 * (-0.3 + 0.5) - 0.3) = -log sigmoid(0.1) = 0.6443967
    np.testing.assert_allclose(simpo_loss(-0.3, -0.5, beta=2, gamma=0.3), 0.6443967, rtol=1e-6)
    np.testing.assert_allclose(simpo_loss(jnp.full(3, -0.3), -0.5, beta=2.0, gamma=0.3), [0.6443967] * 3, rtol=1e-6)


def test_a_longer_text_of_smaller_probability_can_be_the_likelier_one():
    # Chosen: -0.3 over ten tokens (-3 in all); rejected: -0.5 over two (-1 in all).
    batch, policy = batch_of(([-0.3] * 10, [-0.5] * 2))
    loss, metrics, _ = outcome(Simpo(beta=2, gamma=0.3), policy, batch)
    np.testing.assert_allclose(loss.value, 0.6443967, rtol=1e-5)
    assert metrics["ranking_accuracy"].value == 0
    assert metrics["ranking_accuracy_per_token"].value == 1
    np.testing.assert_allclose(metrics["reward_margin"].value, 0.4, rtol=1e-5)  # 2 * 0.2


def test_it_has_no_closed_form_and_refuses_bad_settings():
    assert not hasattr(Simpo(), "at_reference")
    with pytest.raises(InputError, match="beta=0"):
        Simpo(beta=0)
    with pytest.raises(InputError, match="gamma=-0.1"):
        Simpo(gamma=-0.1)


def test_the_slope_by_hand():
    # d/dm of -log sigmoid(2 m) at m = 0 is -2 sigmoid(0) = -1
    np.testing.assert_allclose(jax.grad(lambda m: simpo_loss(m, 0.0, beta=2.0, gamma=0.0))(0.0), -1)
