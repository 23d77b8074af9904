"""ORPO by hand, and at certainty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.orpo import Orpo, orpo_loss
from tests.objectives.fakes import batch_of, outcome

# p = 0.4 and 0.2: odds 2/3 and 1/4, ratio 8/3; -log sigmoid(log 8/3) = log(1 + 3/8) = 0.3184537
CHOSEN, REJECTED, ODDS = np.log(0.4), np.log(0.2), np.log(11 / 8)


def test_by_hand():
    np.testing.assert_allclose(orpo_loss(CHOSEN, REJECTED, odds_weight=0.5), -CHOSEN + 0.5 * ODDS, rtol=1e-6)


def test_a_batch_by_hand():
    # The mean per token decides: 0.4 as the mean of log 0.8 and log 0.2, 0.2 three times.
    batch, policy = batch_of(([np.log(0.8), np.log(0.2)], [REJECTED] * 3), ([CHOSEN], [CHOSEN]))
    loss, metrics, _ = outcome(Orpo(odds_weight=0.1), policy, batch)
    np.testing.assert_allclose(loss, [-2 * CHOSEN + 0.1 * (ODDS + np.log(2)), 2], rtol=1e-5)
    np.testing.assert_allclose(metrics["nll_chosen"].value, -CHOSEN, rtol=1e-6)
    np.testing.assert_allclose(metrics["reward_margin"].total, np.log(8 / 3), rtol=1e-5)


def test_without_odds_it_is_cross_entropy_of_the_chosen():
    batch, policy = batch_of(([-1.0, -2.0], [-3.0]))
    loss, _, gradient = outcome(Orpo(odds_weight=0), policy, batch)
    gradient = gradient.logprob
    np.testing.assert_allclose(loss.value, 1.5)
    assert not np.any(gradient[:, 1])
    np.testing.assert_allclose(gradient[0, 0], [0, -0.5, -0.5, 0, 0, 0])


@pytest.mark.parametrize("chosen", [0.0, -1e-9, -1e5])
@pytest.mark.parametrize("rejected", [0.0, -1e-9, -1e5])
def test_certainty_and_impossibility_stay_finite(chosen, rejected):
    fn = lambda x: orpo_loss(x[0], x[1], odds_weight=0.1)
    value, slope = jax.value_and_grad(fn)(jnp.array([chosen, rejected]))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_it_refuses_a_negative_weight():
    with pytest.raises(InputError, match="odds_weight=-1"):
        Orpo(odds_weight=-1)
