"""Paper 24, inverse-gap weighting: probabilities by hand, the best arm gets the rest, and the loss falls."""

import numpy as np

from tests.papers.examples import example

gaps = example("inverse_gap")


def test_probabilities_by_hand():
    """Losses 0.2, 0.7, 0.3 and gamma 10: 1 / (3 + 5), 1 / (3 + 1), and the rest."""
    predicted = np.array([0.2, 0.7, 0.3])
    np.testing.assert_allclose(gaps.square(predicted, 10), [0.625, 0.125, 0.25])
    np.testing.assert_allclose(gaps.fast(predicted, 10)[1:], [0.2 / (0.6 + 5), 0.2 / (0.6 + 1)])
    for rule in (gaps.square, gaps.fast):
        np.testing.assert_allclose(rule(predicted, 10).sum(), 1)
        np.testing.assert_allclose(rule(predicted, 1e9), [1, 0, 0], atol=1e-8)
        np.testing.assert_allclose(rule(predicted, 0), [1 / 3] * 3)


def test_the_network_learns_from_the_pulled_arm():
    late = lambda rule: gaps.play(rule, rounds=1500)[-300:].mean()
    assert late(gaps.fast) < late(gaps.square) < 0.5 * late(None)
