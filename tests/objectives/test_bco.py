"""BCO and unpaired APO by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.objectives.bco import Bco, bco_loss
from mtjax.objectives.dpo import dpo_loss
from mtjax.objectives.kto import kto_loss
from tests.objectives.fakes import batch_of, outcome


def test_two_single_texts_are_the_pair_kind_and_apo_is_kto_without_its_point():
    w, r = np.array([1.0, -0.5, -3.0]), np.array([-1.0, -2.0, 0.5])
    with jax.enable_x64(True):
        both = bco_loss(w, 1, beta=0.1, shift=0.05) + bco_loss(r, 0, beta=0.1, shift=0.05)
        np.testing.assert_allclose(both, dpo_loss(w, r, beta=0.1, kind="bco", shift=0.05), rtol=1e-9)
        both = bco_loss(w, 1, beta=0.4, kind="apo_zero") + bco_loss(r, 0, beta=0.4, kind="apo_zero")
        np.testing.assert_allclose(both, dpo_loss(w, r, beta=0.4, kind="apo_zero"), rtol=1e-9)
        np.testing.assert_allclose(
            bco_loss(w, np.array([1, 0, 1]), beta=0.4, kind="apo_zero"),
            kto_loss(w, np.array([1, 0, 1]), 0.0, beta=0.4),
            rtol=1e-9,
        )
    h = jnp.asarray([-1e4, 1e4])
    assert all(
        np.isfinite(jax.vmap(jax.value_and_grad(lambda x, k=k: bco_loss(x, k, beta=0.1)))(h)).all() for k in (0, 1)
    )


def test_the_shift_is_the_mean_reward_of_the_batch():
    # Log-ratios 2 (right), -1 (wrong), 3 (wrong): mean 4/3, beta 0.3: shift 0.4; rewards 0.6, -0.3, 0.9.
    batch, policy = batch_of([-1.0], [-4.0], [-2.0], polarity=[1, 0, 0])
    _, reference = batch_of([-3.0], [-3.0], [-5.0])
    loss, metrics, gradient = outcome(Bco(beta=0.3), policy, batch, reference)
    expected = sum(math.log1p(math.exp(x)) for x in (-(0.6 - 0.4), -0.3 - 0.4, 0.9 - 0.4)) / 3
    np.testing.assert_allclose(loss.value, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["shift"].value, 0.4, rtol=1e-6)
    # No gradient through the shift: d/dh of -log sigmoid(0.3 h - 0.4) is -0.3 sigmoid(-0.2).
    np.testing.assert_allclose(gradient.logprob[0, 1], -0.3 / (1 + math.exp(0.2)), rtol=1e-5)
    loss, _, _ = outcome(Bco(beta=0.3, kind="apo_zero", wrong_weight=2.0), policy, batch, reference)
    s = lambda x: 1 / (1 + math.exp(-x))
    np.testing.assert_allclose(loss.value, (s(-0.6) + 2 * s(-0.3) + 2 * s(0.9)) / 3, rtol=1e-6)
    assert Bco().at_reference == math.log(2)
    assert Bco(kind="apo_zero").at_reference == 0.5
    assert Bco(wrong_weight=2.0).at_reference is None
    assert not hasattr(Bco(shift="none"), "statistics")
    assert "TRL keeps a running mean" in Bco().note
