"""BCO and unpaired APO by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives.bco import Bco, bco_loss
from mtjax.objectives.dpo import dpo_loss
from mtjax.objectives.kto import kto_loss
from mtjax.types import Mean
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
    loss, metrics, gradient = outcome(Bco(beta=0.3, shift="batch"), policy, batch, reference)
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
    assert "TRL keeps a running mean" in Bco(shift="batch").note
    assert not Bco().note


def test_the_running_shift_is_the_mean_of_all_texts_so_far():
    """Log-ratios 2, -1, 3 after 5 texts of mean 0.8: (4 + 4) / 8 = 1."""
    batch, policy = batch_of([-1.0], [-4.0], [-2.0], polarity=[1, 0, 0])
    _, reference = batch_of([-3.0], [-3.0], [-5.0])
    objective = Bco(beta=0.3)
    found = objective.statistics(policy, batch, reference=reference)
    known = {"logratio_mean": jnp.float32(0.8), "logratio_count": jnp.float32(5)}
    known = objective.advance(known, found)
    assert known == {"logratio_mean": pytest.approx(1.0), "logratio_count": 8}
    loss, metrics = objective(policy, batch, reference=reference, running=known)
    expected = sum(math.log1p(math.exp(x)) for x in (-(0.6 - 0.3), -0.3 - 0.3, 0.9 - 0.3)) / 3
    np.testing.assert_allclose(loss.value, expected, rtol=1e-6)
    np.testing.assert_allclose(metrics["shift"].value, 0.3, rtol=1e-6)
    # The first step agrees with the batch's mean, and a batch without texts changes nothing.
    first = objective.advance({name: jnp.float32(0) for name in objective.running}, found)
    alike = objective(policy, batch, reference=reference, running=first)[0]
    np.testing.assert_allclose(alike, objective(policy, batch, reference=reference)[0], rtol=1e-6)
    nothing = {"logratio": Mean(jnp.float32(0), jnp.float32(0))}
    assert objective.advance(known, nothing) == known
    assert Bco(shift="none").running == Bco(kind="apo_zero").running == ()
