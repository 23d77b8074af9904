"""Paper 43, values of letters: 0.5 for a uniform distribution, and what is taken lies in clusters of its own."""

import numpy as np

from tests.papers.examples import example

letters = example("letter_values")


def test_expected_values():
    np.testing.assert_allclose(letters.expected_value(np.zeros(6)), 0.5)
    sure = np.full((2, 6), -np.inf)
    sure[0, 0] = sure[1, 5] = -3.0
    np.testing.assert_allclose(letters.expected_value(sure), [1, 0])


def test_one_of_each_cluster():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([centre + 0.1 * rng.normal(size=(5, 2)) for centre in ((0, 0), (9, 0), (0, 9))])
    taken, own = letters.different(vectors, 3)
    assert sorted(number // 5 for number in taken) == [0, 1, 2]
    assert len({int(own[number]) for number in taken}) == 3
