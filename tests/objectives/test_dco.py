"""The objective `dco`: whole examples, steps and success rates, by hand and by equality."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.config import load
from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.objectives.dco import Dco, dco_code, dco_loss, dco_paper, dco_weight
from mtjax.objectives.nll import Nll
from tests.objectives.fakes import BigramPolicy, batch_of, outcome, random_batch, random_table


def test_whole_examples_by_hand():
    # Sums -8 (two tokens) and -20, n = 256: losses 2.49729384 and 14.4548228, F 0.957828978 and 0.999999737
    batch, policy = batch_of([-5.0, -3.0], [-20.0])
    loss, metrics, _ = outcome(Dco(n=256), policy, batch)
    np.testing.assert_allclose(loss, [2.49729384 + 14.4548228, 2], rtol=1e-6)
    np.testing.assert_allclose(metrics["dco_weight"], [0.957828978 + 0.999999737, 2], rtol=1e-6)
    assert metrics["logprob"] == (-28, 2)
    assert metrics["dead_share"] == (0, 2)
    assert metrics["confidence/-10_to_-3"].value == 0.5
    assert metrics["confidence/-30_to_-10"].value == 0.5
    gradient = outcome(Dco(n=256), policy, batch).gradient.logprob
    np.testing.assert_allclose(gradient[0], [0, -0.957828978, -0.957828978, 0, 0, 0], rtol=1e-6)


def test_the_mean_per_token_is_another_loss():
    batch, policy = batch_of([-5.0, -3.0], [-20.0])
    loss, _, _ = outcome(Dco(n=256, reduction="token_mean"), policy, batch)
    np.testing.assert_allclose(loss, [0.957828978 * 4 + 0.999999737 * 20, 2], rtol=1e-6)
    gradient = outcome(Dco(n=256, reduction="token_mean"), policy, batch).gradient.logprob
    np.testing.assert_allclose(gradient[0, 1:3], [-0.957828978 / 2] * 2, rtol=1e-6)  # F is a constant


def steps_batch():
    # p = .5, .1 = .4 * .25, .9 as steps of 1, 2 and 1 tokens; a token between steps belongs to none.
    batch, policy = batch_of([math.log(0.5), -1.0, math.log(0.4), math.log(0.25), math.log(0.9)])
    batch.extras["step_ids"] = jnp.zeros(batch.tokens.shape, jnp.int32).at[0].set(jnp.array([0, 1, 0, 2, 2, 3, 0]))
    return batch, policy


def test_steps_by_hand():
    batch, policy = steps_batch()
    loss, metrics, _ = outcome(Dco(n=4, granularity="step"), policy, batch)
    np.testing.assert_allclose(loss, [0.0645385 + 1.0674044 + 1.00005e-4, 1], rtol=1e-5)
    np.testing.assert_allclose(metrics["dco_weight"], [0.2666667 + 0.8479209 + 3.60036e-3, 3], rtol=1e-5)
    np.testing.assert_allclose(metrics["dead_share"], [1, 3])
    np.testing.assert_allclose(metrics["logprob"], [math.log(0.045), 1], rtol=1e-5)
    assert metrics["confidence/-1_to_0"] == (2, 3)  # of steps
    gradient = outcome(Dco(n=4, granularity="step"), policy, batch).gradient.logprob
    np.testing.assert_allclose(gradient[0], [0, -0.2666667, 0, -0.8479209, -0.8479209, -3.60036e-3, 0], rtol=1e-5)


def test_steps_with_the_mean_per_token_by_hand():
    batch, policy = steps_batch()
    loss, _, _ = outcome(Dco(n=4, granularity="step", reduction="token_mean"), policy, batch)
    by_hand = 0.2666667 * -math.log(0.5) + 0.8479209 * -math.log(0.1) + 3.60036e-3 * -math.log(0.9)
    np.testing.assert_allclose(loss, [by_hand / 4, 1], rtol=1e-5)


def test_steps_of_one_number_in_two_segments_are_two_steps():
    batch = random_batch()
    one = batch._replace(extras=batch.extras | {"step_ids": jnp.ones_like(batch.extras["step_ids"])})
    policy = BigramPolicy(random_table())
    loss = lambda granularity: outcome(Dco(n=8, granularity=granularity), policy, one).loss
    np.testing.assert_allclose(loss("step"), loss("sequence"), rtol=1e-6)


def test_a_success_rate_by_hand():
    # q = 0, 1 and p = 0.5 with n = 16: F = 1, 0 and 16 / 2^16 / (1 - 2^-16) = 2.4414435e-4
    batch, policy = batch_of([-3.0, -1.0], [-5.0], [-7.0], success_rate=[0, 1, 0.5])
    loss, metrics, _ = outcome(Dco(n=16, granularity="external"), policy, batch)
    np.testing.assert_allclose(loss, [4 + 2.4414435e-4 * 7, 3], rtol=1e-6)
    np.testing.assert_allclose(metrics["dead_share"], [2, 3])
    np.testing.assert_allclose(outcome(dco_code(n=16), policy, batch).loss, [2 + 2.4414435e-4 * 7, 3], rtol=1e-6)
    # As released, n = 1: the mean per token of every row, whatever its rate.
    np.testing.assert_allclose(outcome(dco_code(), policy, batch).loss, [2 + 5 + 7, 3], rtol=1e-6)


def test_an_n_of_its_own_for_each_example():
    batch, policy = batch_of([-8.0], [-8.0], n=[1, 256])
    loss, metrics, gradient = outcome(Dco(n=99), policy, batch)
    assert np.isfinite(gradient.logprob).all()  # where there is no example, n is 0
    np.testing.assert_allclose(loss, [8 + 2.49729384, 2], rtol=1e-6)
    np.testing.assert_allclose(metrics["dco_weight"].total, 1.957828978, rtol=1e-6)


def test_at_one_sample_it_is_cross_entropy_over_examples():
    batch = random_batch()
    policy = BigramPolicy(random_table())
    for objective in (Dco(n=1), Dco(n=1, granularity="external"), dco_paper(n=1)):
        loss, metrics, _ = outcome(objective, policy, batch)
        np.testing.assert_allclose(loss.total, outcome(Nll(), policy, batch).loss.total, rtol=1e-5)
        assert metrics["dco_weight"].value == 1
    live = base.segment_sum(batch.weights * base.is_target(batch.segments), batch.segments, 3) > 0
    assert loss.count == live.sum()


@pytest.mark.parametrize("reduction", ["sum", "token_mean"])
@pytest.mark.parametrize("granularity", ["sequence", "step", "external"])
@pytest.mark.parametrize("logprob", [0.0, -1e-8, -1e5])
def test_gradients_stay_finite_at_the_ends(reduction, granularity, logprob):
    batch, policy = batch_of([logprob, logprob], success_rate=[0.0])
    batch.extras["step_ids"] = jnp.asarray(batch.weights, jnp.int32)
    objective = Dco(n=10**6, granularity=granularity, reduction=reduction)
    assert np.isfinite(outcome(objective, policy, batch).loss).all()
    assert np.isfinite(outcome(objective, policy, batch).gradient.logprob).all()


def test_the_weights_that_a_filter_asks_for():
    weights_of = jax.jit(lambda objective, *args: objective.weights(*args), static_argnums=0)
    batch, policy = batch_of([-8.0], [-0.6931472], [], success_rate=[0.0, 0.5, 1.0])
    np.testing.assert_allclose(weights_of(Dco(n=16), policy, batch)[:3, 0], [0.997485579, 2.4414435e-4, 0], rtol=1e-5)
    external = weights_of(Dco(n=16, granularity="external"), policy, batch)
    np.testing.assert_allclose(external[:3, 0], [1, 2.4414435e-4, 0], rtol=1e-5)
    batch, policy = steps_batch()  # of an example's steps the most live one
    of_steps = weights_of(Dco(n=4, granularity="step"), policy, batch)
    np.testing.assert_allclose(of_steps[:, 0], [0.8479209, 0, 0, 0], rtol=1e-5)


def test_presets_and_names():
    assert (dco_paper().granularity, dco_paper().reduction) == ("sequence", "sum")
    assert (dco_code().granularity, dco_code().reduction, dco_code().n) == ("external", "token_mean", 1)
    np.testing.assert_allclose([dco_loss(-8.0, 256), dco_weight(-8.0, 256)], [2.49729384, 0.957828978], rtol=1e-6)


def test_presets_from_the_command_line():
    """As `docs/recipes/dco.md` has them."""
    words = ["--objective.granularity=external", "--objective.reduction=token_mean", "--data.task.success_rate=True"]
    as_released = load("configs/tiny_dco.py", ["--objective.n=1", *words])
    assert (as_released.objective, as_released.data.task.success_rate) == (dco_code(), True)
    assert load("configs/tiny_dco.py", ["--objective.n=256"]).objective == dco_paper()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"n": 0.5}, r"n=0.5: expected at least 1 and finite"), ({"n": float("inf")}, "n=inf")],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Dco(**settings)


def test_what_the_data_must_bring():
    batch, policy = batch_of([-1.0])
    with pytest.raises(InputError, match=r"granularity 'step' needs extras\['step_ids'\].*data.task.steps=True"):
        Dco(granularity="step")(policy, batch)
    with pytest.raises(InputError, match=r"extras\['segment_success_rate'\].*data.task.success_rate=True"):
        Dco(granularity="external")(policy, batch)
