"""Paper 20, OpenMoE: the golden table of kept choices, the z-loss, and late tokens are dropped first."""

import jax.numpy as jnp
import numpy as np

from mtjax.model import mixture
from mtjax.objectives.regularizers.router_z_loss import RouterZLoss
from tests.objectives import test_load_balance as balance


def test_kept_choices_and_the_z_loss():
    chosen = jnp.array([(0, 1), (0, 1), (0, 2), (0, 3), (1, 0), (0, 1), (2, 0), (0, 3)])
    kept = np.asarray(mixture.within_room(chosen, jnp.ones(8, bool), 4, mixture.room(1.25, 8, 4, 1)))
    assert kept.astype(int).tolist() == [[1, 1], [1, 0], [0, 1], [0, 1], [1, 0], [0, 0], [1, 0], [0, 1]]
    policy, batch = balance.rows([(0.25,) * 4] * 2)  # normalised: logsumexp 0
    np.testing.assert_allclose(RouterZLoss()(policy, batch).value, 0, atol=1e-12)
    policy = balance.Routed(np.log([[(0.5,) * 4] * 2]))  # logsumexp of four halves: log 2
    np.testing.assert_allclose(RouterZLoss()(policy, batch).value, np.log(2) ** 2, rtol=1e-6)


def test_the_share_of_dropped_tokens_grows_along_the_row():
    """One expert is asked for by every token, and has room for a third of them."""
    kept = mixture.within_room(jnp.zeros((12, 1), jnp.int32), jnp.ones(12, bool), 4, 4)
    assert kept[:, 0].tolist() == [True] * 4 + [False] * 8
