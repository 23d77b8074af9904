"""Paper 35, dynamic reweighting: the published weights, their sum over the entire batch, and uniform limits."""

import jax.numpy as jnp
import numpy as np

from mtjax.objectives.reweighted import batch_weights

LOSSES, ALL = jnp.asarray([2.0, 3, 4, 6]), jnp.ones(4, bool)  # h = -1, -0.5, 0, 1


def test_weights_by_hand_and_their_limits():
    found = {name: batch_weights(LOSSES, ALL, name, 0.4) for name in ("lin_upper", "quadratic", "extremes")}
    np.testing.assert_allclose(found["lin_upper"], [0.034656, 0.12096, 0.422192, 0.422192], atol=1e-6)
    np.testing.assert_allclose(found["quadratic"], [0.048301, 0.314965, 0.588432, 0.048301], atol=1e-6)
    np.testing.assert_allclose(found["extremes"], [0.422192, 0.12096, 0.034656, 0.422192], atol=1e-6)
    np.testing.assert_allclose([one.sum() for one in found.values()], 1, rtol=1e-6)
    np.testing.assert_allclose(batch_weights(LOSSES, ALL, "lin_upper", 1e6), 0.25, atol=1e-6)
    np.testing.assert_array_equal(batch_weights(jnp.full(4, 0.7), ALL, "lin_upper", 0.4), np.float32(0.25))
