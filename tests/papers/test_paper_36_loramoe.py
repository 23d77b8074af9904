"""Paper 36, LoRAMoE: golden numbers of the balance, and a map by hand; with B = 0 it adds nothing."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.model.adapters.loramoe import LoraMoe
from mtjax.objectives.regularizers.localized_balance import agreement, spread_loss


def test_golden_values_of_the_balance_as_in_the_paper_and_as_in_the_code():
    amounts = jnp.array([[2, 1, 0.5, 0.5], [0.6, 0.4, 1.4, 1.6]]) * agreement(jnp.array([0.0, 1.0]), 4, 0.1, "paper")
    sums = (amounts.sum(), (amounts**2).sum(), 8)
    assert float(spread_loss(*sums, "paper")) == pytest.approx(0.41969048, rel=1e-5)
    assert float(spread_loss(*sums, "code")) == pytest.approx(0.45680596, rel=1e-5)


def test_two_experts_by_hand():
    """A = 1, 2; B = 1, -1; weights 3/4 and 1/4: 3/4 - 2/4 = 1/4 beside the base's 5."""
    leaves = {"a": jnp.array([[[1.0], [2.0]]]), "b": jnp.array([[[1.0]], [[-1.0]]]), "used": jnp.zeros(2)}
    leaves["router"] = jnp.array([[np.log(3.0), 0.0]])
    x = jnp.ones((1, 1))
    np.testing.assert_allclose(LoraMoe.apply(leaves, x, 5 * x, x), [[5.25]], rtol=1e-6)
    none = {**leaves, "b": 0 * leaves["b"]}
    np.testing.assert_array_equal(LoraMoe.apply(none, x, 5 * x, x), [[5.0]])
