"""Objectives of signed samples: golden values, identities with policy gradients, reductions, extremes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.asymre import Asymre
from mtjax.objectives.nft import Nft, nft_loss
from mtjax.objectives.nll import Nll
from mtjax.objectives.policy_gradient import PolicyGradient
from mtjax.objectives.psft import Psft, psft_loss
from mtjax.objectives.reductions import reduced
from mtjax.objectives.signed import kept_texts
from mtjax.objectives.topr import Topr
from mtjax.objectives.w_reinforce import WReinforce, clipped_surrogate, nsr, psr
from tests.objectives.fakes import BigramPolicy, batch_of, outcome, random_batch, random_table

FAR = jnp.asarray([-1e4, -300.0, -100.0, 0.0, 100.0, 300.0, 1e4], jnp.float32)


def slopes(loss, points):
    return jax.vmap(jax.value_and_grad(loss))(jnp.asarray(points))


@pytest.mark.parametrize(
    ("ratio", "rate", "right", "omega", "loss", "slope"),
    [
        (1.0, 0.25, 1, "fails", 0.0, -0.75),
        (1.0, 0.25, 0, "fails", 0.0, 0.25),
        (1.5, 0.25, 0, "fails", 0.0, 0.375),
        (0.5, 0.25, 0, "fails", -0.1156130, 0.1071429),
        (2.0, 0.75, 1, "fails", -0.1732868, -0.25),
        (1.2, 0.9, 0, "fails", 0.0, 1.08),
        (1.0, 0.25, 1, "odds", 0.0, -1.732051),
        (1.0, 0.25, 0, "odds", 0.0, 0.5773503),
        (1.5, 0.25, 0, "odds", 0.0, 0.8660254),
        (0.5, 0.25, 0, "odds", None, 0.2474358),
        (2.0, 0.75, 1, "odds", None, -0.5773503),
        (1.2, 0.9, 0, "odds", None, 3.6),
    ],
)
def test_nft_by_hand(ratio, rate, right, omega, loss, slope):
    with jax.enable_x64(True):
        found = jax.value_and_grad(lambda x: nft_loss(x, rate, right, omega=omega))(np.log(ratio))
    if loss is not None:
        np.testing.assert_allclose(found[0], loss, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[1], slope, rtol=1e-6)


def test_nft_on_policy_is_dr_grpo_and_grpo():
    """For every number of right samples out of 16, the slope is minus the advantage."""
    right = np.arange(16)[None] < np.arange(1, 16)[:, None]
    rate = right.mean(1, keepdims=True)
    with jax.enable_x64(True):
        slope = lambda omega: jax.grad(lambda x: nft_loss(x, rate, right, omega=omega).sum())(np.zeros((15, 16)))
        np.testing.assert_allclose(slope("fails"), -(right - rate), atol=1e-12)
        deviation = np.sqrt(rate * (1 - rate))
        np.testing.assert_allclose(slope("odds"), -(right - rate) / deviation, atol=1e-12)


def test_nft_of_a_batch_by_hand():
    """One right and one wrong text of a problem solved one time in four, and a text of one that is always solved."""
    ours, theirs = ([-1.0, -0.5], [-2.0], [-1.0]), ([-1.5, -0.5], [-2.0 + math.log(2)], [-1.0])
    batch, policy = batch_of(*ours, polarity=[1, 0, 1], success_rate=[0.25, 0.25, 1.0])
    _, reference = batch_of(*theirs)
    found = outcome(Nft(), policy, batch, reference)
    wrong = -0.75 * math.log((1 - 0.125) / 0.75)
    np.testing.assert_allclose(found.loss, [-0.75 * 0.5 + wrong, 2 * 1000], rtol=1e-5)
    np.testing.assert_allclose(found.metrics["mixed_share"].value, 2 / 3, rtol=1e-6)
    assert outcome(Nft(reduction="token_mean"), policy, batch, reference).loss.count == 3
    recorded = batch._replace(extras=batch.extras | {"sampled_logprob": reference.logprob})
    assert outcome(Nft(sampler="recorded"), policy, recorded).loss == found.loss
    assert not Nft(sampler="recorded").needs_reference
    with pytest.raises(InputError, match=r"needs extras\['sampled_logprob'\]"):
        Nft(sampler="recorded")(policy, batch)


def test_the_clipped_surrogate_by_hand():
    settings = {"low": 0.2, "high": 0.28, "dual": 3.0}
    ratio = np.array([0.5, 0.9, 1.0, 1.2, 2.0, 5.0])
    for advantage, value, slope in (
        (1.0, -np.minimum(ratio, 1.28), [-0.5, -0.9, -1.0, -1.2, 0, 0]),
        (-2.0, 2 * np.clip(ratio, 0.8, 3.0), [0, 1.8, 2.0, 2.4, 4.0, 0]),
    ):
        with jax.enable_x64(True):
            found = slopes(lambda x, a=advantage: clipped_surrogate(x, a, **settings), np.log(ratio))
        np.testing.assert_allclose(found[0], value, rtol=1e-9)
        np.testing.assert_allclose(found[1], slope, rtol=1e-9)


def test_the_first_update_is_reinforce():
    """Where policy and old policy agree, the gradient is minus the advantage of each token; one half is psr or nsr."""
    batch, policy = batch_of([-1.0, -0.5], [-2.0, -3.0, -1.0], polarity=[1, 0])
    found = outcome(WReinforce(right_weight=0.25), policy, batch, policy)
    np.testing.assert_allclose(found.loss, [-0.25 * 2 + 3, 5], rtol=1e-6)
    np.testing.assert_allclose(found.gradient.logprob[:2, 1:4], [[-0.25, -0.25, 0], [1, 1, 1]], rtol=1e-6)
    assert found.metrics["clipped"].value == 0
    assert found.metrics["ratio"].value == 1
    only_right, only_wrong = outcome(psr(), policy, batch, policy), outcome(nsr(), policy, batch, policy)
    np.testing.assert_allclose(only_right.loss, [-2, 2], rtol=1e-6)
    np.testing.assert_allclose(only_wrong.loss, [3, 3], rtol=1e-6)
    nll = outcome(Nll(), policy, batch._replace(weights=batch.weights * jnp.eye(4)[0][:, None]))
    np.testing.assert_allclose(only_right.gradient.logprob, nll.gradient.logprob, rtol=1e-6)
    with pytest.raises(InputError, match="right_weight and objective.wrong_weight are both 0"):
        WReinforce(right_weight=0, wrong_weight=0)


def test_reductions_on_ragged_texts():
    """Losses 1, 2 (weights 1, 2) and 6: weights of 3 and 1 in two texts, and none in a third."""
    batch, policy = batch_of([1.0, 2.0], [6.0], [9.0])
    weights = batch.weights.at[0, 2].set(2.0).at[2].set(0.0)
    batch = batch._replace(weights=weights)
    mean = lambda how: np.asarray(reduced(policy.logprob, batch, how, 10))
    np.testing.assert_allclose(mean("token_mean"), [1 + 4 + 6, 4])
    np.testing.assert_allclose(mean("sequence_mean"), [5 / 3 + 6, 2], rtol=1e-6)
    np.testing.assert_allclose(mean("sequence_sum"), [11, 2])
    np.testing.assert_allclose(mean("constant"), [11, 20])
    left_out = reduced(policy.logprob, kept_texts(batch, jnp.ones((4, 1)).at[0].set(0)), "sequence_sum")
    np.testing.assert_allclose(left_out, [6, 1])


def test_topr_by_hand():
    wrong, policy = batch_of([-1.0, -0.5], polarity=[0])
    _, sampler = batch_of([-0.8, -0.9])
    value = lambda objective, batch, sampler: outcome(objective, policy, batch, sampler).loss.value
    np.testing.assert_allclose(value(Topr(), wrong, sampler), -1.5, rtol=1e-6)  # the text is likelier than when sampled
    np.testing.assert_allclose(value(Topr(form="token"), wrong, sampler), -0.6593653765, rtol=1e-6)
    right, _ = batch_of([-1.0, -0.5], polarity=[1])
    _, sampler = batch_of([-1.4, -0.9])
    np.testing.assert_allclose(value(Topr(), right, sampler), 1.5, rtol=1e-6)
    np.testing.assert_allclose(value(Topr(form="token"), right, sampler), 0.75, rtol=1e-6)
    # A wrong text a hundred nats below its sampler has no push left, and none of a step that doubles the other way.
    _, far = batch_of([-0.001, -0.001])
    gone, policy = batch_of([-80.0, -20.0], polarity=[0])
    assert np.abs(outcome(Topr(), policy, gone, far).gradient.logprob).max() < 1e-30


def test_asymre_by_hand():
    batch, policy = batch_of([-1.0], [-2.0], [-3.0], [-4.0], polarity=[1, 0, 0, 1], success_rate=[0.5, 0.5, 0, 0.5])
    found = outcome(Asymre(), policy, batch)
    np.testing.assert_allclose(found.gradient.logprob[:, 1], [-0.6, 0.4, 0.4, -0.6], rtol=1e-6)
    np.testing.assert_allclose(found.loss, [0.6 - 0.8 - 1.2 + 2.4, 4], rtol=1e-5)
    found = outcome(Asymre(baseline="success_rate"), policy, batch)
    np.testing.assert_allclose(found.gradient.logprob[:, 1], [-0.6, 0.4, -0.1, -0.6], rtol=1e-5)  # the third: imitated
    assert not hasattr(Asymre(baseline="success_rate"), "statistics")


def test_psft_by_hand():
    """Old log-probability -2; p = .6439 is at the clip, r = .2368828 is not."""
    with jax.enable_x64(True):
        values = slopes(lambda x: psft_loss(x, clip=0.28), [np.log(0.6439) + 2, np.log(0.2368828)])
    np.testing.assert_allclose(values[0], [-1.28, -0.2368828], rtol=1e-9)
    np.testing.assert_allclose(values[1], [0, -0.2368828], rtol=1e-9)
    batch, policy = batch_of([-1.0, -0.5], [-2.0])
    same = outcome(Psft(), policy, batch, policy)
    np.testing.assert_array_equal(same.gradient.logprob, outcome(Nll(), policy, batch).gradient.logprob)
    assert same.loss.value == Psft().at_reference
    _, old = batch_of([-2.0, -0.5], [-1.0])
    found = outcome(Psft(), policy, batch, old)
    np.testing.assert_allclose(found.loss, [-1.28 - 1 - math.exp(-1), 3], rtol=1e-6)
    np.testing.assert_allclose(found.metrics["clipped"].value, 1 / 3, rtol=1e-6)


def test_every_ratio_is_finite_in_value_and_slope():
    losses = [
        *(lambda x, w=w, o=o: nft_loss(x, 0.25, w, omega=o) for w in (0, 1) for o in ("fails", "odds", "one")),
        *(lambda x, a=a: clipped_surrogate(x, a, low=0.2, high=0.2, dual=3.0) for a in (-1.0, 1.0)),
        lambda x: psft_loss(x, clip=0.28),
    ]
    found = jax.jit(lambda x: [slopes(loss, x) for loss in losses])(FAR)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


@pytest.mark.slow
@pytest.mark.parametrize("objective", [Topr(), Topr(form="token"), Nft(), WReinforce(), Asymre(), Psft()], ids=repr)
def test_texts_far_from_their_sampler_are_finite(objective):
    batch, policy = batch_of([-1e4], [-1e4], [-1e-9], [-1e-9], polarity=[1, 0, 1, 0], success_rate=[0.5] * 4)
    _, sampler = batch_of([-1e-9], [-1e-9], [-1e4], [-1e4])
    found = outcome(objective, policy, batch, sampler)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((found.loss, found.gradient.logprob)))


def test_topr_is_the_surrogate_of_groups_on_rewards_of_one_and_minus_one():
    """On any batch of groups: one arithmetic, with the text's ratio and with that of each token."""
    batch, policy, reference = random_batch(group=3), BigramPolicy(random_table()), BigramPolicy(random_table(1))
    signs = batch.extras | {"segment_advantage": 2 * batch.extras["segment_polarity"] - 1}
    for form, kind, how in (("sequence", "topr", "sequence_sum"), ("token", "topr_token", "token_mean")):
        ours = outcome(Topr(form=form), policy, batch, reference)
        group = PolicyGradient(surrogate=kind, reduction=how, old="reference")
        theirs = outcome(group, policy, batch._replace(extras=signs), reference)
        np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-6)
        np.testing.assert_allclose(ours.gradient.table, theirs.gradient.table, rtol=1e-5, atol=1e-7)
