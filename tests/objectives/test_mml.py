"""Marginal likelihood of sets of solutions: by hand, gradient shares, empty sets, groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.mml import Mml, beta_mml, mle_aug, mml_loss
from mtjax.types import Batch
from tests.objectives.fakes import FixedPolicy, outcome


def group(rows, polarity):
    """A batch of one problem: one candidate a row of logprobs, `(1, G, T)`, and a problem without candidates."""
    length = 1 + max(map(len, rows))
    shape = (2, len(rows), length)
    logprob, segments = np.full(shape, -77, np.float32), np.zeros(shape, np.int32)
    for number, row in enumerate(rows):
        logprob[0, number, 1 : 1 + len(row)] = row
        segments[0, number, : 1 + len(row)] = 1
    weights = (segments > 0) * (np.arange(length) > 0)
    extras = {"segment_polarity": np.zeros((2, len(rows), 1), np.float32)}
    extras["segment_polarity"][0, :, 0] = polarity
    batch = Batch(np.zeros(shape, np.int32), weights.astype(np.float32), segments, extras)
    return jax.tree.map(jnp.asarray, batch), FixedPolicy(jnp.asarray(logprob))


@pytest.mark.parametrize(
    ("objective", "loss", "shares"),
    [
        (mle_aug(), 4.0, (1, 1)),
        (Mml(marginal_weight=0, each_weight=1, each="mean"), 2.0, (0.5, 0.5)),
        (Mml(), 0.8730719890, (0.8808, 0.1192)),
        (Mml(beta=0.5), 0.3734766250, (0.7311, 0.2689)),
        (beta_mml(), -0.8963079367, (0.6225, 0.3775)),
    ],
)
def test_two_right_solutions_by_hand(objective, loss, shares):
    """Log-probabilities -1 and -3; a wrong candidate counts nowhere."""
    batch, policy = group([[-1.0], [-2.5, -0.5], [-0.1]], [1, 1, 0])
    found = outcome(objective, policy, batch)
    np.testing.assert_allclose(found.loss, [loss, 1], rtol=1e-6)
    np.testing.assert_allclose(-found.gradient.logprob[0, :, 1], [*shares, 0], atol=5e-5)
    assert found.metrics["set_size"].value == 2
    np.testing.assert_allclose(found.metrics["nll"].value, 4 / 3, rtol=1e-6)
    assert found.metrics["logprob_best"].value == -1


def test_one_solution_makes_all_equal():
    batch, policy = group([[-1.0, -0.5], [-9.0]], [1, 0])
    values = [outcome(o, policy, batch).loss.value for o in (Mml(), beta_mml(), mle_aug(), Mml(length_normalised=True))]
    np.testing.assert_allclose(values, 1.5, rtol=1e-6)


def test_lengths_are_taken_out():
    """Means per token -1 and -1.5 times the longest length 2: l is -2 and -3 in place of -1 and -3."""
    batch, policy = group([[-1.0], [-2.0, -1.0]], [1, 1])
    found = outcome(Mml(length_normalised=True), policy, batch).loss.value
    np.testing.assert_allclose(found, -np.logaddexp(-2, -3), rtol=1e-6)


def test_far_and_empty_sets_are_finite():
    logprob = jnp.asarray([[[-1e4, 0.0]], [[-1.0, 0.0]]]).reshape(2, 2, 1)
    live = jnp.asarray([[[True], [True]], [[False], [False]]])
    value, gradient = jax.value_and_grad(lambda x: mml_loss(x, live, beta=0.25).sum())(logprob)
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient[:, :, 0], [[0, -1], [0, 0]])
    with pytest.raises(InputError, match="marginal_weight and each_weight are both 0"):
        Mml(marginal_weight=0)
