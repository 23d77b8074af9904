"""CPO, SLiC and AlphaPO by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.objectives.cpo import Cpo, cpo_loss, slic
from mtjax.objectives.simpo import alphapo, simpo_loss
from tests.objectives.fakes import batch_of, outcome


def test_golden_values():
    """Chosen -12 over 6 tokens, rejected -15 over 10; beta 0.1, gamma 0.3, alpha 0.25."""
    with jax.enable_x64(True):
        np.testing.assert_allclose(cpo_loss(-12.0, -15.0, beta=0.1), 0.5543552445, rtol=1e-9)
        mean = {"chosen_mean_logprob": -2.0, "rejected_mean_logprob": -1.5, "beta": 0.1, "gamma": 0.3}
        np.testing.assert_allclose(simpo_loss(**mean), 0.8833821554, rtol=1e-9)
        np.testing.assert_allclose(simpo_loss(**mean, alpha=0.25), 0.8996009046, rtol=1e-9)
    np.testing.assert_allclose(cpo_loss(-12.0, -12.5, beta=1.0, margin=1.0, kind="hinge"), 0.5)  # 1 - 0.5


def test_the_cross_entropy_is_the_mean_over_chosen_tokens_or_of_each_pair():
    batch, policy = batch_of(([-2.0] * 6, [-1.5] * 10), ([-4.0, -2.0], [-1.0]))
    preference = (math.log1p(math.exp(-0.3)) + math.log1p(math.exp(0.5))) / 2  # margins 3 and -5
    loss, metrics, _ = outcome(Cpo(nll_weight=0.5), policy, batch)
    np.testing.assert_allclose(loss.value, preference + 0.5 * 18 / 8, rtol=1e-6)  # 12 + 6 nats over 8 tokens
    np.testing.assert_allclose(metrics["nll_chosen"].value, 18 / 8, rtol=1e-6)
    loss, _, _ = outcome(slic(0.5), policy, batch)
    np.testing.assert_allclose(loss.value, (0 + 6) / 2 + 0.5 * (2 + 3) / 2, rtol=1e-6)
    assert not hasattr(slic(), "statistics")
    assert hasattr(Cpo(), "statistics")


def test_finite_far_away():
    h = jnp.asarray([-1e4, 0.0, 1e4])
    for loss in (
        lambda x: cpo_loss(x, 0.0, beta=0.1),
        lambda x: cpo_loss(x, 0.0, beta=1.0, margin=1.0, kind="hinge"),
        lambda x: simpo_loss(x, -1.0, beta=2.5, gamma=0.1, alpha=alphapo().alpha),
    ):
        assert np.isfinite(jax.vmap(jax.value_and_grad(loss))(h)).all()
