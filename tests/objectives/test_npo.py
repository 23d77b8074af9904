"""NPO by hand."""

import math

import jax
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.npo import Npo, npo_loss
from tests.objectives.fakes import batch_of, outcome


def test_by_hand():
    # -2 / 0.5 log sigmoid(-0.5 * 2) = 4 log(1 + e) = 5.2530468
    np.testing.assert_allclose(npo_loss(2.0, beta=0.5), 4 * math.log(1 + math.e), rtol=1e-6)
    np.testing.assert_allclose(npo_loss(0, beta=0.1), 20 * math.log(2), rtol=1e-6)


def test_the_slope_fades_where_gradient_ascent_would_go_on():
    # 2 sigmoid(beta r): 1 at the reference, 2 sigmoid(-5) once e^50 times less likely, 2 at most
    slope = jax.vmap(jax.grad(lambda r: npo_loss(r, beta=0.1)))(np.array([0.0, -50.0, 1e4, -1e4], np.float32))
    np.testing.assert_allclose(slope, [1, 2 / (1 + math.exp(5)), 2, 0], rtol=1e-5, atol=1e-30)


def test_small_beta_is_gradient_ascent():
    # (loss - 2 / beta log 2) -> r as beta -> 0
    np.testing.assert_allclose(npo_loss(3.0, beta=1e-3) - npo_loss(0.0, beta=1e-3), 3.0, rtol=5e-3)


def test_a_batch_by_hand():
    # Wrong: -3 against -5 of the reference, r = 2. Right: -1 and -3 over two tokens, nll 2 a token.
    batch, policy = batch_of([-1.0, -2.0], [-1.0, -3.0], polarity=[0, 1])
    _, reference = batch_of([-1.0, -4.0], [-1.0, -1.0], polarity=[0, 1])
    wrong = 4 * math.log(1 + math.e)
    np.testing.assert_allclose(outcome(Npo(beta=0.5), policy, batch, reference).loss, [wrong, 1], rtol=1e-6)
    loss, metrics, _ = outcome(Npo(beta=0.5, nll_weight=0.25), policy, batch, reference)
    np.testing.assert_allclose(loss, [wrong + 0.25 * 2, 1.25], rtol=1e-6)
    assert metrics["logprob_wrong"] == (-3, 1)
    assert metrics["reward_right"] == (-1, 1)  # 0.5 * (-4 + 2)
    assert metrics["wrong_share"] == (1, 2)
    assert metrics["confidence/-10_to_-3"] == (1, 1)  # the right one alone, -4


def test_right_texts_alone_are_an_empty_batch():
    batch, policy = batch_of([-1.0, -2.0], polarity=[1])
    loss, _, gradient = outcome(Npo(), policy, batch, policy)
    assert loss == (0, 0)
    assert not np.any(gradient.logprob)


def test_sides_of_pairs_count_apart():
    batch, policy = batch_of(([-1.0], [-2.0]))
    loss, _, _ = outcome(Npo(beta=0.1, nll_weight=1), policy, batch, policy)
    np.testing.assert_allclose(loss, [20 * math.log(2) + 1, 2], rtol=1e-6)


def test_the_closed_form_and_bad_settings():
    np.testing.assert_allclose(Npo(beta=0.5).at_reference, 4 * math.log(2))
    assert Npo(nll_weight=0.1).at_reference is None
    with pytest.raises(InputError, match="beta=0"):
        Npo(beta=0)
    with pytest.raises(InputError, match="nll_weight=-1"):
        Npo(nll_weight=-1)
