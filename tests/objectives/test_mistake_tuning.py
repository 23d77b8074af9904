"""Mistake tuning by hand and by equality with `nll`."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll
from mtjax.types import Batch
from tests.objectives.fakes import BigramPolicy, outcome, random_batch, random_table


def test_by_hand():
    # Uniform over two tokens: every prediction costs ln 2. Segment 1 is right (2 targets), segment 2 wrong (1 target).
    policy = BigramPolicy(jnp.zeros((2, 2)))
    batch = Batch(
        tokens=jnp.array([[0, 1, 1, 1, 0, 0]]),
        weights=jnp.array([[0.0, 1.0, 1.0, 0.0, 1.0, 0.0]]),
        segments=jnp.array([[1, 1, 1, 2, 2, 0]]),
        extras={"segment_polarity": jnp.array([[1.0, 0.0]])},
    )
    loss, metrics = MistakeTuning(incorrect_weight=0.5)(policy, batch)
    np.testing.assert_allclose(loss.total, 2.5 * np.log(2), rtol=1e-6)  # 2 * 1 + 1 * 0.5 targets
    np.testing.assert_allclose(loss.count, 2.5)
    np.testing.assert_allclose(metrics["wrong_share"].value, 1 / 3, rtol=1e-6)  # in units of the task's weights
    np.testing.assert_allclose(metrics["nll_wrong"].value, np.log(2), rtol=1e-6)
    assert metrics["confidence/-3_to_-1"] == (1, 1)  # the right one alone, 2 * ln 2


@given(seed=st.integers(0, 10_000))
def test_without_wrong_weight_it_is_nll_on_the_right(seed):
    batch = random_batch(seed=seed)
    right = base.spread(batch.extras["segment_polarity"], batch.segments)
    masked = batch._replace(weights=batch.weights * right)
    policy = BigramPolicy(random_table(seed))
    ours, theirs = outcome(MistakeTuning(0.0), policy, batch), outcome(Nll(), policy, masked)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-6)
    np.testing.assert_allclose(ours.gradient.table, theirs.gradient.table, rtol=1e-6, atol=1e-6)


def test_at_weight_one_it_is_nll_on_everything():
    batch = random_batch(seed=3)
    policy = BigramPolicy(random_table())
    assert MistakeTuning(1.0)(policy, batch)[0] == Nll()(policy, batch)[0]


def test_refuses_a_negative_weight_and_a_batch_without_polarity():
    with pytest.raises(InputError, match=r"incorrect_weight=-1.*no negative sign"):
        MistakeTuning(-1.0)
    with pytest.raises(InputError, match="finite"):
        MistakeTuning(float("nan"))
    with pytest.raises(InputError, match="use the task 'mistake'"):
        MistakeTuning()(BigramPolicy(random_table()), random_batch()._replace(extras={}))
