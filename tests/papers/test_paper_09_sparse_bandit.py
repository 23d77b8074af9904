"""Paper 9, sparse misspecified bandits: an arm within a few epsilon, after no more pulls than there are hypotheses."""

import numpy as np

from tests.papers.examples import example

bandit = example("sparse_bandit")


def test_the_arm_is_near_the_best_one_and_the_net_grows_with_the_support():
    for d, s, epsilon, lost, pulls, size in bandit.main():
        assert lost <= 4
        assert pulls <= size
        assert size <= (d * (2 * np.sqrt(s) / epsilon + 2)) ** s
    sizes = [len(bandit.hypotheses(d, s, 0.25)) for d, s in ((4, 1), (8, 1), (4, 2), (8, 2))]
    assert sizes[1] / sizes[0] < 2.1  # d to the power of s
    assert 3.5 < sizes[3] / sizes[2] < 5


def test_a_hypothesis_that_lies_is_not_believed():
    """Two arms, and a net of what promises 1 for either: the first pull shows that the first promise is wrong."""
    arms, pulled = np.eye(2), []
    net = np.array([[1.0, 0.0], [0.0, 0.9]])
    pull = lambda arm: pulled.append(arm) or [0.0, 0.9][arm]
    assert bandit.eliminate(arms, pull, net, 0.05) == (1, 2)
    assert pulled == [0, 1]
