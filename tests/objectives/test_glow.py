"""GLOW: the published weights, and what it makes of a memory."""

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.glow import Glow, glow_weight
from mtjax.types import Remember
from tests.objectives.fakes import batch_of, outcome


def test_the_published_weights():
    # alpha 3, beta 10: 3 (1 - sigmoid(10 d)); the last one is 0.1423 before the clip at 0.5.
    found = glow_weight(np.float32([0, 0.1, -0.2, 0.3]), alpha=3.0, beta=10.0)
    np.testing.assert_allclose(found, [1.5, 0.8068243, 2.6423912, 0.5], rtol=1e-6)
    np.testing.assert_allclose(glow_weight(0.3, alpha=3.0, beta=10.0, low=0.0), 0.1422776, rtol=1e-6)
    far = glow_weight(np.float32([-1e4, 1e4]), alpha=3.0, beta=10.0)
    np.testing.assert_array_equal(far, [3, 0.5])


def test_a_batch_by_hand():
    """Texts of 2 and 1 targets, mean losses 1.5 and 4; the first improved by 0.5, the second is new."""
    batch, policy = batch_of([-1.0, -2.0], [-4.0], last_loss=[2.0, 0.0], seen=[1.0, 0.0])
    loss, metrics, gradient = outcome(Glow(alpha=3.0, beta=1.0), policy, batch)
    weight = 3 / (1 + np.exp(0.5))
    np.testing.assert_allclose(loss.value, (weight * 1.5 + 4) / 2, rtol=1e-6)
    np.testing.assert_allclose(gradient.logprob[0, 1:3], [-weight / 2] * 2, rtol=1e-6)  # of the total
    np.testing.assert_allclose(gradient.logprob[1, 1], -1, rtol=1e-6)
    assert (metrics["seen"].value, metrics["improvement"].value) == (0.5, 0.5)
    note = metrics["last_loss"]
    assert isinstance(note, Remember)
    np.testing.assert_allclose(note.values[:2, 0], [1.5, 4.0])
    assert note.live[:, 0].tolist() == [True, True, False, False]


def test_without_a_memory_it_is_the_mean_cross_entropy_of_texts():
    batch, policy = batch_of([-1.0, -2.0], [-4.0])
    np.testing.assert_allclose(outcome(Glow(alpha=3.0, beta=1.0), policy, batch).loss.value, (1.5 + 4) / 2)
    with pytest.raises(InputError, match=r"objective\.low=2\.0 is above objective\.high=1\.0"):
        Glow(low=2.0, high=1.0)
