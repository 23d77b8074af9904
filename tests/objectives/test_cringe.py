"""CRINGE by hand, alone and in pairs; equality with `nll`; extremes."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.objectives import base
from mtjax.objectives.cringe import Cringe, PairwiseCringe, cringe_loss
from mtjax.objectives.nll import Nll
from tests.objectives.fakes import VOCAB, BigramPolicy, outcome, random_batch, random_table

ROW = jnp.array([[2.0, 1.0, 0.0, -1.0]])
SOFTPLUS = 0.3132616875  # softplus(1 - 2)


def test_by_hand():
    np.testing.assert_allclose(cringe_loss(ROW, jnp.array([1]), k=1), [SOFTPLUS], rtol=1e-6)
    # k = 2: the others are 2 and 0, with softmax (1, e^-2) / (1 + e^-2).
    share = 1 / (1 + math.exp(-2))
    expected = share * SOFTPLUS + (1 - share) * math.log1p(math.e)
    np.testing.assert_allclose(cringe_loss(ROW, jnp.array([1]), k=2), [expected], rtol=1e-6)
    np.testing.assert_allclose(cringe_loss(ROW, jnp.array([1]), k=99), cringe_loss(ROW, jnp.array([1]), k=3), rtol=1e-6)
    gradient = jax.grad(lambda z: cringe_loss(z, jnp.array([1]), k=1)[0])(ROW)
    slope = 1 / (1 + math.e)  # sigmoid(1 - 2): from the label to the best other, and nowhere else
    np.testing.assert_allclose(gradient, [[-slope, slope, 0, 0]], rtol=1e-6)
    gradient = jax.grad(lambda z: cringe_loss(z, jnp.array([1]), k=1, detach=True)[0])(ROW)
    np.testing.assert_allclose(gradient, [[0, slope, 0, 0]], rtol=1e-6)


def test_far_and_impossible_tokens_are_finite():
    rows = jnp.asarray([[1e4, -1e4, 0], [-1e4, 1e4, 0], [0.0, -jnp.inf, -jnp.inf]])
    for labels in ([0, 0, 0], [1, 1, 0]):
        loss = lambda z, labels=labels: cringe_loss(z, jnp.array(labels), k=2)[:2].sum()
        value, gradient = jax.value_and_grad(loss)(rows)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_at_weight_zero_it_is_nll_on_the_right():
    batch, policy = random_batch(), BigramPolicy(random_table())
    right = base.spread(batch.extras["segment_polarity"], batch.segments)
    assert outcome(Cringe(0), policy, batch).loss == Nll()(policy, batch._replace(weights=batch.weights * right))[0]


def test_a_pair_by_hand():
    """One chosen token of log-probability a and one rejected token with the row above."""
    table = jnp.full((VOCAB, VOCAB), -60.0).at[0, :4].set(ROW[0]).at[5, :4].set(ROW[0])
    batch = random_batch(rows=4, pair=True)
    blank = jax.tree.map(lambda x: x * 0, batch)
    tokens = blank.tokens.at[0, 0, :2].set(jnp.array([5, 0])).at[0, 1, :2].set(jnp.array([5, 1]))
    live = blank.segments.at[0, :, :2].set(1)
    batch = blank._replace(tokens=tokens, segments=live, weights=blank.weights.at[0, :, 1].set(1.0))
    found = outcome(PairwiseCringe(), BigramPolicy(table), batch)
    chosen, rejected = -0.4401897, -1.4401897
    gate = 1 / (1 + math.exp(-(-10 - (chosen - rejected)) / 10))
    np.testing.assert_allclose(found.loss, [gate * (0.4401897 + SOFTPLUS), 1], rtol=1e-6)
    np.testing.assert_allclose(found.metrics["gate"].value, gate, rtol=1e-6)
    # The note's own numbers: log-probabilities -12 and -15.
    gate = 1 / (1 + math.exp(1.3))
    np.testing.assert_allclose([gate, gate * SOFTPLUS], [0.2141650170, 0.0670896946], rtol=1e-6)
