"""The DPO family by hand, at the reference, and where gradients must vanish."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.errors import InputError
from mtjax.objectives.dpo import Dpo, dpo_loss, dpo_tulu3, ipo_trl
from mtjax.types import Batch
from tests.objectives.fakes import BigramPolicy, FixedPolicy, batch_of, outcome, random_batch, random_table

KINDS = [("sigmoid", 0.0), ("sigmoid", 0.2), ("robust", 0.2), ("ipo", 0.0), ("hinge", 0.0)]
# log-ratios -1 and -2: margin 1, beta 0.4: log(1 + e^-0.4) = 0.5130152524, and 0.9130152524 = 0.4 more when turned
AS_GIVEN, TURNED = 0.5130152524, 0.9130152524


@pytest.mark.parametrize(
    ("kind", "smoothing", "expected"),
    [
        ("sigmoid", 0.0, AS_GIVEN),
        ("sigmoid", 0.1, 0.9 * AS_GIVEN + 0.1 * TURNED),  # 0.5530152524
        ("robust", 0.1, (0.9 * AS_GIVEN - 0.1 * TURNED) / 0.8),  # 0.4630152524
        ("ipo", 0.0, 0.0625),  # (1 - 1 / 0.8)^2
        ("hinge", 0.0, 0.6),  # 1 - 0.4
    ],
)
def test_by_hand(kind, smoothing, expected):
    loss = dpo_loss(-1.0, -2.0, beta=0.4, label_smoothing=smoothing, kind=kind)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert loss.dtype == jnp.float32
    many = dpo_loss(jnp.full((2, 3), -1.0), jnp.full((3,), -2), beta=0.4, label_smoothing=smoothing, kind=kind)
    np.testing.assert_allclose(many, np.full((2, 3), expected), rtol=1e-6)


def test_the_ratios_of_a_batch_by_hand():
    # RISE's vector: chosen -12 under the policy, -11 under the reference; rejected -15 and -13: margin 1. A second pair
    # with chosen -4 and -4, rejected -2 and -3: margin -1, beta 0.4: 0.9130152524. The mean counts two.
    batch, policy = batch_of(([-5.0, -7.0], [-15.0]), ([-4.0], [-1.0, -1.0]))
    _, reference = batch_of(([-5.0, -6.0], [-13.0]), ([-4.0], [-1.0, -2.0]))
    loss, metrics, _ = outcome(Dpo(beta=0.4), policy, batch, reference)
    np.testing.assert_allclose(loss, [AS_GIVEN + TURNED, 2], rtol=1e-6)
    np.testing.assert_allclose(metrics["reward_chosen"].total, 0.4 * -1, rtol=1e-6)
    np.testing.assert_allclose(metrics["reward_rejected"].total, 0.4 * (-2 + 1), rtol=1e-6)
    np.testing.assert_allclose(metrics["reward_accuracy"].value, 0.5)
    np.testing.assert_allclose(metrics["ranking_accuracy"].value, 0.5)  # -12 >= -15, -4 < -2


def test_length_normalised_as_in_tulu3():
    # 25 tokens of -2 (reference -2.2) and 40 of -1.5 (reference -1.45): 5 / 25 * 5 - 5 / 40 * (-2) = 1.25
    batch, policy = batch_of(([-2.0] * 25, [-1.5] * 40))
    _, reference = batch_of(([-2.2] * 25, [-1.45] * 40))
    loss, _, _ = outcome(dpo_tulu3(), policy, batch, reference)
    np.testing.assert_allclose(loss.value, 0.251929081, rtol=1e-5)  # log(1 + e^-1.25)


def test_ipo_of_the_paper_takes_sums_and_that_of_trl_means_per_token():
    # Log-ratios: chosen -1 over 2 tokens, rejected -6 over 3. Sums: margin 5; means: -0.5 + 2 = 1.5. 1 / (2 beta) = 5.
    batch, policy = batch_of(([-2.0, -1.0], [-3.0, -3.0, -3.0]))
    _, reference = batch_of(([-1.0, -1.0], [-1.0, -1.0, -1.0]))
    loss = lambda objective: float(outcome(objective, policy, batch, reference).loss.value)
    assert loss(Dpo(kind="ipo", beta=0.1)) == pytest.approx(0.0, abs=1e-8)
    assert loss(ipo_trl()) == pytest.approx(12.25, rel=1e-6)
    assert loss(ipo_trl(beta=0.25)) == pytest.approx(0.25, rel=1e-6)  # (1.5 - 2)^2
    # Which of the two it is is said where it is chosen.
    assert "TRL and HALOs take means per token" in Dpo(kind="ipo").note
    assert "the paper's has sums" in ipo_trl().note
    assert Dpo().note == "" == dpo_tulu3().note


def test_gamma_is_how_much_of_the_reference_counts():
    batch, policy = batch_of(([-3.0], [-5.0]))
    _, reference = batch_of(([-1.0], [-7.0]))
    loss = lambda gamma: outcome(Dpo(beta=0.5, gamma=gamma), policy, batch, reference).loss.value
    softplus = lambda x: math.log(1 + math.exp(x))
    np.testing.assert_allclose(loss(0), softplus(-0.5 * 2), rtol=1e-6)  # -3 + 5
    np.testing.assert_allclose(loss(0.5), softplus(0.5 * 1), rtol=1e-6)  # (-3 + 0.5) - (-5 + 3.5) = -1
    np.testing.assert_allclose(loss(1), softplus(0.5 * 4), rtol=1e-6)  # (-3 + 1) - (-5 + 7) = -4
    assert Dpo(gamma=0.5).at_reference is None


@pytest.mark.parametrize(("kind", "smoothing"), KINDS)
@pytest.mark.parametrize("length_normalised", [False, True])
def test_at_the_reference(kind, smoothing, length_normalised):
    objective = Dpo(beta=0.3, kind=kind, label_smoothing=smoothing, length_normalised=length_normalised)
    policy = BigramPolicy(random_table())
    loss, metrics, _ = outcome(objective, policy, random_batch(pair=True), policy)
    np.testing.assert_allclose(loss.value, objective.at_reference, rtol=1e-6)
    assert objective.at_reference == pytest.approx({"ipo": 1 / 0.36, "hinge": 1.0}.get(kind, 0.6931471806))
    assert metrics["reward_margin"].value == 0


@pytest.mark.parametrize(("kind", "smoothing"), KINDS)
def test_an_identical_pair_and_a_shared_prefix_get_nothing(kind, smoothing):
    """Identical texts: what one side gets the other loses, exactly. A prefix without weight: exactly nothing at all."""
    batch, policy = batch_of(([-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0]), ([-0.5, -1.5], [-0.5, -4.0]))
    _, reference = batch_of(([-2.0, -2.0, -2.0], [-2.0, -2.0, -2.0]), ([-0.7, -1.1], [-0.7, -3.0]))
    batch = batch._replace(weights=batch.weights.at[1, :, 1].set(0))  # the second pair's first token is context
    gradient = outcome(Dpo(kind=kind, label_smoothing=smoothing), policy, batch, reference).gradient.logprob
    assert np.abs(gradient[0, 0, 1:4]).min() > 0.01
    np.testing.assert_array_equal(gradient[0, 0] + gradient[0, 1], 0)
    np.testing.assert_array_equal(gradient[1, :, :2], 0)
    assert gradient[1, 0, 2] < 0 < gradient[1, 1, 2]


def test_an_identical_pair_leaves_parameters_alone():
    batch = random_batch(pair=True)
    twins = jax.tree.map(lambda x: jnp.stack([x[:, 0], x[:, 0]], axis=1), batch)
    gradient = outcome(Dpo(beta=1.0), BigramPolicy(random_table()), twins, BigramPolicy(random_table(1))).gradient.table
    np.testing.assert_allclose(gradient, 0, atol=1e-6)  # sums of opposite numbers, rounded


def test_a_pair_with_one_empty_side_is_left_out():
    batch, policy = batch_of(([-1.0], [-2.0]), ([-3.0], []))
    _, reference = batch_of(([-1.5], [-2.0]), ([-9.0], []))
    loss, metrics, gradient = outcome(Dpo(length_normalised=True), policy, batch, reference)
    np.testing.assert_allclose(loss, [math.log(1 + math.exp(-0.05)), 1], rtol=1e-6)  # beta 0.1 times 0.5
    assert metrics["incomplete"] == (1, 2)
    assert not np.any(gradient.logprob[1])


@given(c=st.floats(-100, 100), beta=st.floats(0.01, 5), excess=st.sampled_from([-1e-3, 1e-3]))
def test_the_ranking_flips_at_the_loss_that_chen_et_al_give(c, beta, excess):
    """With reference log-odds c against the pair, it is ranked right iff the loss is at most -log sigmoid(beta c)."""
    margin = c + excess * max(1, abs(c))  # how far the policy has moved: right iff it moved by c or more
    with jax.enable_x64(True):
        loss = dpo_loss(jnp.float64(margin), jnp.float64(0), beta=jnp.float64(beta))
        threshold = jnp.logaddexp(jnp.float64(-beta * c), 0)
        assert bool(loss <= threshold) == (excess > 0)


@functools.partial(jax.jit, static_argnums=(1, 2))
def value_and_slope(margin, kind, smoothing):
    return jax.value_and_grad(lambda x: dpo_loss(x, 0.0, beta=0.5, kind=kind, label_smoothing=smoothing))(margin)


@given(margin=st.floats(-1e4, 1e4), kind=st.sampled_from(KINDS))
def test_losses_and_slopes_stay_finite(margin, kind):
    assert np.isfinite(value_and_slope(margin, *kind)).all()


def test_losses_do_not_see_where_segments_lie():
    """Segment 2 of the rejected row starts elsewhere than that of the chosen row."""
    segments = jnp.array([[[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 2, 2]]])
    policy = FixedPolicy(jnp.array([[[-9.0, -1, -9, -2, -3, -9], [-9, -1, -1, -1, -9, -4]]]))
    weights = jnp.ones((1, 2, 6))
    batch = Batch(jnp.zeros((1, 2, 6), jnp.int32), weights, segments, {"segment_id": jnp.zeros((1, 2, 2))})
    loss, metrics, _ = outcome(Dpo(beta=1.0, gamma=0.0), policy, batch, policy)
    # pair 1: -1 against -3; pair 2: -5 against -4
    np.testing.assert_allclose(loss, [math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)), 2], rtol=1e-6)
    assert metrics["ranking_accuracy"] == (1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.0}, r"beta=0.0: expected more than 0 and finite"),
        ({"beta": float("nan")}, "beta=nan"),
        ({"gamma": -1}, r"gamma=-1: expected at least 0 and finite"),
        ({"kind": "robust", "label_smoothing": 0.5}, r"label_smoothing=0.5: expected 0 <= it < 0.5.*swap"),
        ({"kind": "ipo", "label_smoothing": 0.1}, "does nothing for kind='ipo'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Dpo(**settings)


def test_a_misspelt_kind_gets_its_suggestion():
    with pytest.raises(InputError, match="'sigmoidal'; did you mean 'sigmoid'"):
        dpo_loss(0.0, 0.0, beta=1.0, kind="sigmoidal")


def test_presets():
    assert dataclasses.asdict(dpo_tulu3())["beta"] == 5
    assert dpo_tulu3().length_normalised
