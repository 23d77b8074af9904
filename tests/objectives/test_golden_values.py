"""Published and precomputed numbers that no other test of the objectives has, and the table of factors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.advantages.baselines import Grpo
from mtjax.data.advantages.pass_at_k import Pkpo
from mtjax.objectives import pair_losses
from mtjax.objectives.aldr import aldr_temperature
from mtjax.objectives.confidence import times_probability
from mtjax.objectives.dco import dco_loss
from mtjax.objectives.dpo import Dpo, dpo_loss
from mtjax.objectives.focal import focal_loss
from mtjax.objectives.gce import gce_loss
from mtjax.objectives.ldr import margins
from mtjax.objectives.regularizers.z_loss import squared_log_partition
from mtjax.objectives.unlikelihood import unlikelihood_loss
from tests.objectives.fakes import batch_of, outcome

PROBABILITIES = np.array([0.01, 0.1, 0.5, 0.9])


def value_and_slopes(h_w, h_l, **settings):
    """The loss of a pair and its slopes on the two log-ratios, in float64."""
    with jax.enable_x64(True):
        loss = lambda w, r: dpo_loss(w, r, **settings)
        return [float(x) for x in jax.tree.leaves(jax.value_and_grad(loss, (0, 1))(np.float64(h_w), np.float64(h_l)))]


def test_exo_and_discopop_at_the_reference_and_far_from_it():
    exo = {"kind": "exo", "beta": 0.3, "label_smoothing": 1e-3}
    np.testing.assert_allclose(value_and_slopes(0, 0, **exo), [2.7612307, -1.72669 * 0.3, 1.72669 * 0.3], rtol=1e-5)
    np.testing.assert_allclose(2.7612307, -math.log(2) - math.log(1e-3 * (1 - 1e-3)) / 2, rtol=1e-7)
    np.testing.assert_allclose(value_and_slopes(-300, 300, **exo)[0], 6.9078, rtol=1e-5)  # -log 1e-3
    found = value_and_slopes(0, 0, kind="discopop", beta=0.3, tau=0.05)
    np.testing.assert_allclose(found, [0.8465736, 0.7843 * 0.3, -0.7843 * 0.3], rtol=1e-4)


def test_trl_s_coefficient_of_the_alpha_divergence():
    """c = 0.3 there is alpha = 0.7 here."""
    expected = {(1, -1, 0.1): 0.5906386, (-0.5, -2, 0.1): 0.5224758, (-3, 0.5, 0.4): 4.277676}
    for (h_w, h_l, beta), loss in expected.items():
        with jax.enable_x64(True):
            w, r = (pair_losses.score(np.float64(h), "alpha", 0.7) for h in (h_w, h_l))
            np.testing.assert_allclose(dpo_loss(w, r, beta=beta), loss, rtol=1e-6)


@pytest.mark.parametrize(
    ("pair", "beta", "expected"),
    [
        ((1, -1), 0.1, [0.5981389, -0.0450166, 0.0450166]),
        ((-0.5, -2), 0.1, [0.7443967, -0.3149875, 0.05249792]),
        ((-3, 0.5), 0.4, [7.400611, -2.398534, 0.3997556]),
    ],
)
def test_dpop_with_its_slopes(pair, beta, expected):
    """A penalty of 5: the chosen text's fall below the reference counts in the margin."""
    batch, policy = batch_of(([-20.0 + pair[0]], [-20.0 + pair[1]]))
    _, reference = batch_of(([-20.0], [-20.0]))
    found = outcome(Dpo(beta=beta, chosen_penalty=5.0), policy, batch, reference)
    values = [found.loss.total, *found.gradient.logprob[0, :, 1]]
    np.testing.assert_allclose(values, expected, rtol=2e-6)


def test_wpo_by_plain_likelihood():
    """Chosen rows [2, 1, 0, -1] and zeros with ids 0 and 1, a rejected row [1, 1, 0, 0] with id 2; margin 2."""
    rows = np.array([[2.0, 1, 0, -1], [0, 0, 0, 0], [1, 1, 0, 0]])
    logprob = rows[np.arange(3), [0, 1, 2]] - np.log(np.exp(rows).sum(1))
    weight = np.exp(logprob[:2].mean() + logprob[2])
    np.testing.assert_allclose(weight, 0.0539525189, rtol=1e-8)
    batch, policy = batch_of((logprob[:2].tolist(), logprob[2:].tolist()))
    _, reference = batch_of(((logprob[:2] - 1).tolist(), logprob[2:].tolist()))
    found = outcome(Dpo(weight="plain"), policy, batch, reference)
    np.testing.assert_allclose(found.loss.value, 0.0322710987, rtol=1e-6)
    np.testing.assert_allclose(found.metrics["pair_weight"].value, weight, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "factors"),
    [
        (times_probability, [0.01, 0.1, 0.5, 0.9]),
        (lambda x: gce_loss(x, q=0.5), [0.1, 0.31623, 0.70711, 0.94868]),
        (lambda x: focal_loss(x, gamma=2.0), [1.0713, 1.2245, 0.59657, 0.028965]),
        (lambda x: dco_loss(x, 2.0), [0.99497, 0.94737, 0.66667, 0.18182]),
        (lambda x: dco_loss(x, 16.0), [0.9264, 0.40435, 0.00024414, 1.44e-14]),
        (lambda x: dco_loss(x, 256.0), [0.21364, 5.4964e-11, 0, 0]),
        (unlikelihood_loss, [-0.010101, -0.11111, -1, -9]),
    ],
    ids=["dft", "gce", "focal", "dco-2", "dco-16", "dco-256", "unlikelihood"],
)
def test_the_factors_on_the_gradient_of_the_cross_entropy(loss, factors):
    """What each loss makes of the gradient of -log p, against p = 0.01, 0.1, 0.5 and 0.9."""
    slopes = jax.vmap(jax.grad(lambda x: loss(x).sum()))(jnp.log(jnp.asarray(PROBABILITIES)))
    np.testing.assert_allclose(-slopes, factors, rtol=1e-4, atol=2e-14)


def test_cross_entropy_with_z_loss():
    rows, labels = np.array([[2.0, 1, 0, -1], [2, 1, 0, -1], [0, 0, 0, 0]]), [0, 3, 1]
    nll = -jax.nn.log_softmax(jnp.asarray(rows))[np.arange(3), labels]
    np.testing.assert_allclose(nll, [0.4401897, 3.440190, 1.386294], rtol=1e-6)
    both = nll + 1e-4 * squared_log_partition(jnp.asarray(rows))
    np.testing.assert_allclose(both, [0.4407852, 3.440785, 1.386487], rtol=1e-6)


def test_the_divergence_at_the_temperature_of_aldr():
    """f = [2, -1, 0.5, 0], label 2, lambda0 1, alpha 2, margin 0.1."""
    with jax.enable_x64(True):
        m = margins(jnp.array([[2.0, -1, 0.5, 0]], jnp.float64), jnp.array([2]), 0.1)
        lam = aldr_temperature(m, jnp.log(jnp.array([4.0], jnp.float64)), 1.0, 2.0)
        q = np.asarray(jax.nn.softmax(m[0] / lam))
    np.testing.assert_allclose(np.log(4) + np.sum(q * np.log(q)), 0.844420877, rtol=1e-6)


@pytest.mark.parametrize(
    ("advantage", "rewards", "expected"),
    [
        (Grpo(), [1, 1, 1, 0], [0.4999, 0.4999, 0.4999, -1.4997]),
        (Grpo(), [1, 0, 0, 0], [1.4997, -0.4999, -0.4999, -0.4999]),
        (Grpo(), [0.2, 0.5, 1, 0.5], [-1.05497, -0.15071, 1.35639, -0.15071]),
        (Grpo("population", 1e-8), [0.2, 0.5, 1, 0.5], [-1.21854, -0.174078, 1.5667, -0.174078]),
        (Pkpo(2), [1, 0, 0, 0], [0.25, -0.0833333, -0.0833333, -0.0833333]),
    ],
)
def test_more_advantages(advantage, rewards, expected):
    np.testing.assert_allclose(advantage(np.array(rewards, np.float64)), expected, rtol=1e-4)
