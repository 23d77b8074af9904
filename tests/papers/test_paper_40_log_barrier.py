"""Paper 40, log-barrier FTRL: the optimum by its own condition, and one huge negative loss leaves the others alive."""

import numpy as np

from tests.papers.examples import example

ftrl = example("log_barrier")


def test_the_distribution_solves_its_condition():
    """`L_i - 1 / (eta p_i)` is the same for all arms."""
    losses, eta = np.array([0.0, -3.0, 2.0, 1e4]), 0.3
    p = ftrl.barrier(losses, eta)
    np.testing.assert_allclose(p.sum(), 1)
    np.testing.assert_allclose(losses - 1 / (eta * p), (losses - 1 / (eta * p))[0], rtol=1e-9)


def test_large_negative_losses_and_regret():
    shocked = np.array([0.0, -1000.0, 0.0])
    np.testing.assert_allclose(ftrl.barrier(shocked, 1.0)[0], 1 / 1001, rtol=0.01)
    assert ftrl.exponential(shocked, 1.0)[0] == 0
    few, many = (np.mean([ftrl.play(ftrl.barrier, 0.2, n, seed=seed) for seed in range(4)]) for n in (1000, 4000))
    assert few < 0.08 * 1000  # the regret of pulls at random
    assert many < 3.2 * few  # in four times as many rounds
