"""Paper 48, Rocket: golden values of the diversity, and the planted expert is chosen with what differs from it."""

import numpy as np
import pytest

from mtjax.model.adapters.selection import omega, select


def test_omega_and_the_planted_expert():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]])
    assert omega(vectors @ vectors.T, (0, 1)) == pytest.approx(1.25)
    cosines = np.full((6, 6), 0.5)
    np.fill_diagonal(cosines, 1)
    cosines[0, 1] = cosines[1, 0] = 0.99
    cosines[0, 2] = cosines[2, 0] = 0.0
    found = select([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], cosines, 4, 2)
    assert found.chosen == (0, 2)
