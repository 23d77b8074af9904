"""Weights within a batch: dynamic reweighting, RHO-1 and SALT against worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives.nll import Nll
from mtjax.objectives.reweighted import Reweighted, batch_weights
from mtjax.objectives.rho1 import Rho1, top_share
from mtjax.objectives.salt import Salt, soft_cross_entropy
from tests.objectives.fakes import BigramPolicy, FixedPolicy, batch_of, outcome, random_batch, random_table

LOSSES = np.float32([2, 3, 4, 6])  # h = -1, -0.5, 0, 1


@pytest.mark.parametrize(
    ("strategy", "r", "expected"),
    [
        ("lin_upper", 0.4, [0.034656, 0.12096, 0.422192, 0.422192]),
        ("lin_upper", 1.0, [0.123681, 0.203916, 0.336201, 0.336201]),
        ("quadratic", 0.4, [0.048301, 0.314965, 0.588432, 0.048301]),
        ("extremes", 0.4, [0.422192, 0.12096, 0.034656, 0.422192]),
        ("uniform", 0.4, [0.25] * 4),
        ("upper", 0.5, np.exp([0, 0.5, 1, 2]) / np.exp([0, 0.5, 1, 2]).sum()),
    ],
)
def test_the_published_weights(strategy, r, expected):
    found = batch_weights(jnp.asarray(LOSSES), jnp.ones(4, bool), strategy, r)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # Padding and a loss that is not finite change nothing for the others.
    longer = jnp.asarray([2, 3, jnp.nan, 4, 99, 6], jnp.float32)
    live = jnp.array([True, True, True, True, False, True])
    np.testing.assert_allclose(batch_weights(longer, live, strategy, r)[jnp.array([0, 1, 3, 5])], expected, atol=1e-6)


def test_equal_losses_are_uniform_and_nothing_live_is_nothing():
    equal = batch_weights(jnp.full(3, 0.7), jnp.ones(3, bool), "lin_upper", 0.4)
    np.testing.assert_array_equal(equal, np.float32(1 / 3))
    assert not batch_weights(jnp.full(3, 0.7), jnp.zeros(3, bool), "extremes", 0.4).any()
    sharp = batch_weights(jnp.asarray([1e4, -1e4, 0], jnp.float32), jnp.ones(3, bool), "upper", 1e-3)
    np.testing.assert_allclose(sharp, [1, 0, 0], atol=1e-6)


def test_the_loss_of_a_batch_by_hand_and_its_warm_up():
    batch, policy = batch_of([-2.0, -2.0], [-3.0], [-4.0], [-6.0, -6.0, -6.0])
    weights = np.array([0.034656, 0.12096, 0.422192, 0.422192])
    loss, metrics, gradient = outcome(Reweighted(), policy, batch)
    np.testing.assert_allclose(loss.value, weights @ LOSSES, rtol=1e-5)
    assert loss.count == 4
    np.testing.assert_allclose(gradient.logprob[3, 1:4], [-4 * weights[3] / 3] * 3, rtol=1e-5)  # of the total
    np.testing.assert_allclose(metrics["weight_max"].value, 4 * weights.max(), rtol=1e-5)
    np.testing.assert_allclose(metrics["weight_square"].value, 16 * (weights**2).mean(), rtol=1e-5)
    early = Reweighted(warmup_steps=10)
    np.testing.assert_allclose(early(policy, batch, step=jnp.int32(9))[0].value, LOSSES.mean())
    np.testing.assert_allclose(early(policy, batch, step=jnp.int32(10))[0].value, weights @ LOSSES, rtol=1e-5)


def test_rho_1_keeps_what_exceeds_the_reference_most():
    """Excesses -0.1, 1.5, -0.5, 0.1, 0.4: of five tokens, the share 0.6 keeps three, whose losses are 2, 3 and 0.5."""
    batch, policy = batch_of([-0.1, -2.0, -1.0], [-3.0, -0.5])
    reference = FixedPolicy(batch_of([-0.2, -0.5, -1.5], [-2.9, -0.1])[1].logprob)
    loss, metrics, gradient = outcome(Rho1(), policy, batch, reference)
    np.testing.assert_allclose(loss.value, 5.5 / 3, rtol=1e-6)
    np.testing.assert_allclose(metrics["kept"].value, 0.6)
    np.testing.assert_allclose(metrics["excess"].value, 1.4 / 5, rtol=1e-5)
    assert (gradient.logprob[0, 1:4] != 0).tolist() == [False, True, False]
    np.testing.assert_allclose(outcome(Rho1(share=1.0), policy, batch, reference).loss.value, 6.6 / 5, rtol=1e-6)
    np.testing.assert_allclose(outcome(Rho1(), policy, batch, policy).loss.value, 6.6 / 5, rtol=1e-6)  # all equal
    assert top_share(jnp.arange(10.0), jnp.ones(10, bool), 0.1).sum() == 1


def test_the_gradient_of_a_soft_target_is_the_difference_of_the_distributions():
    rng = np.random.default_rng(0)
    logits, teacher = (jnp.asarray(rng.normal(size=(3, 7)), jnp.float32) for _ in range(2))
    gradient = jax.grad(lambda z: jnp.sum(soft_cross_entropy(z, teacher, 0.25)))(logits)
    np.testing.assert_allclose(gradient, jax.nn.softmax(logits) - jax.nn.softmax(teacher / 0.25), atol=1e-6)
    hard = jnp.where(jnp.arange(7) == 2, 0.0, -jnp.inf) * jnp.ones((3, 1))
    np.testing.assert_allclose(soft_cross_entropy(logits, hard), -jax.nn.log_softmax(logits)[:, 2], rtol=1e-6)
    wide = soft_cross_entropy(jnp.array([[1e4, -1e4]]), jnp.array([[-1e4, 1e4]]))
    np.testing.assert_allclose(wide, 2e4)


def test_salt_is_a_mixture_until_its_teacher_ends():
    policy, teacher, batch = BigramPolicy(random_table()), BigramPolicy(random_table(1)), random_batch()
    plain = Nll()(policy, batch)[0].value
    salt = lambda step, **s: Salt(teacher_steps=10, **s)(policy, batch, reference=teacher, step=step)
    loss, metrics = salt(jnp.int32(3))
    taught = metrics["teacher_ce"].value
    np.testing.assert_allclose(loss.value, (1 - 0.667) * plain + 0.667 * taught, rtol=1e-5)
    np.testing.assert_allclose(salt(jnp.int32(10))[0].value, plain, rtol=1e-6)
    np.testing.assert_allclose(salt(None)[0].value, plain, rtol=1e-6)
    np.testing.assert_allclose(salt(jnp.int32(5), end="linear")[1]["omega"].value, 0.667 / 2, rtol=1e-6)
