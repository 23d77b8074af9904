"""`nll` by hand."""

import jax.numpy as jnp
import numpy as np

from mtjax.objectives.nll import Nll
from mtjax.types import Batch
from tests.objectives.fakes import BigramPolicy


def two_token_policy():
    """p(next = 1) is 3/4 after token 0 and 1/4 after token 1."""
    return BigramPolicy(jnp.log(jnp.array([[0.25, 0.75], [0.75, 0.25]])))


def test_by_hand():
    # Row: 0 1 1 | 1 0, the bar between two segments. Predicted: 1 after 0 (3/4), 1 after 1 (1/4); 0 after 1 (3/4).
    # Weights 2 and 1 in the first segment, 1 in the second; the weight of each first token is ignored.
    batch = Batch(
        tokens=jnp.array([[0, 1, 1, 1, 0]]),
        weights=jnp.array([[5.0, 2.0, 1.0, 5.0, 1.0]]),
        segments=jnp.array([[1, 1, 1, 2, 2]]),
        extras={},
    )
    loss, metrics = Nll()(two_token_policy(), batch)
    # total = 2 ln(4/3) + 1 ln 4 + 1 ln(4/3) = 3 * 0.2876821 + 1.3862944 = 2.2493406
    np.testing.assert_allclose(loss.total, 2.2493406, rtol=1e-6)
    assert loss.count == 4
    # Only the second prediction misses the most likely token: 3 of 4 units of weight are right.
    np.testing.assert_allclose(metrics["top1"].value, 0.75)
    # Entropy of (1/4, 3/4) is 0.5623351 nats everywhere.
    np.testing.assert_allclose(metrics["entropy"].value, 0.5623351, rtol=1e-6)
    # By example, weighted as the loss: -1.96 nats and -0.29.
    assert metrics["confidence/-3_to_-1"] == metrics["confidence/-1_to_0"] == (1, 2)


def test_a_token_of_zero_probability_and_zero_weight_is_dropped():
    policy = BigramPolicy(jnp.array([[0.0, -jnp.inf], [0.0, 0.0]]))
    batch = Batch(jnp.array([[0, 1, 0]]), jnp.array([[0.0, 0.0, 1.0]]), jnp.array([[1, 1, 1]]), {})
    loss, _ = Nll()(policy, batch)
    np.testing.assert_allclose(loss.value, np.log(2), rtol=1e-6)
