"""Paper 56, groupwise regret: near each group's own expert in both groups, and nothing for those asleep."""

import numpy as np

from tests.papers.examples import example

groups = example("group_regret")


def test_each_group_is_near_its_own_expert():
    found = groups.main(rounds=800)
    for mixed, own, for_all in found:
        assert mixed < own + 1e-3
        assert mixed < 0.2 * for_all


def test_weights_by_hand():
    """Regrets 1 and 0, nothing seen: (e^(4/3) - 1) / 2 and (e^(1/3) - 1) / 2; a sleeping expert has none."""
    weights = groups.hedge_weights(np.array([1.0, 0.0, 5.0]), np.zeros(3), np.array([True, True, False]))
    first, second = np.exp(4 / 3) - 1, np.exp(1 / 3) - 1
    np.testing.assert_allclose(weights, [first / (first + second), second / (first + second), 0], rtol=1e-9)
