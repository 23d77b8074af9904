"""Unlikelihood by hand, by equality with `nll`, and where the model is certain."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.nll import Nll
from mtjax.objectives.unlikelihood import Unlikelihood, unlikelihood_loss
from tests.objectives.fakes import BigramPolicy, batch_of, outcome, random_batch, random_table


def test_by_hand():
    loss = unlikelihood_loss(jnp.log(jnp.array([0.5, 0.25, 0.9])))
    np.testing.assert_allclose(loss, [math.log(2), math.log(4 / 3), math.log(10)], rtol=1e-6)


def test_a_batch_by_hand():
    # Right: -log 1/2 - log 1/4 over 2 tokens. Wrong: -log(1 - 1/2) over 1 token, at weight 0.5.
    half, quarter = math.log(0.5), math.log(0.25)
    batch, policy = batch_of([half, quarter], [half], polarity=[1, 0])
    loss, metrics, _ = outcome(Unlikelihood(unlikelihood_weight=0.5), policy, batch)
    np.testing.assert_allclose(loss, [3 * math.log(2) + 0.5 * math.log(2), 2.5], rtol=1e-6)
    np.testing.assert_allclose(metrics["nll_right"].value, 1.5 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(metrics["unlikelihood_wrong"].value, math.log(2), rtol=1e-6)
    np.testing.assert_allclose(metrics["wrong_share"].value, 1 / 3, rtol=1e-6)
    assert metrics["confidence/-3_to_-1"] == (1, 1)  # the right one alone, -log 1/8


def test_at_weight_zero_it_is_nll_on_the_right():
    batch = random_batch()
    right = base.spread(batch.extras["segment_polarity"], batch.segments)
    policy = BigramPolicy(random_table())
    assert (
        outcome(Unlikelihood(0), policy, batch).loss == Nll()(policy, batch._replace(weights=batch.weights * right))[0]
    )


@pytest.mark.parametrize("logprob", [0.0, -1e-9, -1e-6, -1e5, -math.inf])
def test_value_and_slope_stay_finite(logprob):
    value, slope = jax.value_and_grad(unlikelihood_loss)(logprob)
    assert np.isfinite(value)
    assert np.isfinite(slope)
    assert slope > 1e6 if logprob > -1e-7 else slope >= 0


def test_a_wrong_token_of_which_the_model_is_sure_is_still_unlearnt():
    """Through the softmax the slope of log(1 - p) is bounded: p for the token's own logit, also where 1 - p is 0."""

    def loss(logits):
        return unlikelihood_loss(jax.nn.log_softmax(logits)[0])

    for lead in (2.0, 10.0, 16.0):
        gradient = jax.grad(loss)(jnp.array([lead, 0.0, 0.0]))
        np.testing.assert_allclose(gradient[0], 1 / (1 + 2 * math.exp(-lead)), rtol=0.2)  # p, to what float32 can tell
    assert np.isfinite(jax.grad(loss)(jnp.array([200.0, 0.0, 0.0]))).all()


def test_it_refuses_a_negative_weight_and_a_batch_without_polarity():
    with pytest.raises(InputError, match=r"unlikelihood_weight=-1: expected at least 0 and finite"):
        Unlikelihood(-1)
    with pytest.raises(InputError, match="polarities='both'"):
        Unlikelihood()(BigramPolicy(random_table()), random_batch()._replace(extras={}))
