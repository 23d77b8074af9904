"""Group-wise weights: the weights by hand, regrets over batches, and a mixture whose hard source gains weight."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.groupwise import Groupwise, hedge_weights
from mtjax.objectives.nll import Nll
from mtjax.types import Mean
from tests.objectives.fakes import BigramPolicy, random_batch, random_table


def test_weights_by_hand():
    """Regrets 1 and 0, nothing seen: (e^(4/3) - 1) and (e^(1/3) - 1); a sleeping group has none."""
    weights = hedge_weights(jnp.array([1.0, 0.0, 5.0]), jnp.zeros(3), jnp.array([True, True, False]))
    first, second = np.exp(4 / 3) - 1, np.exp(1 / 3) - 1
    np.testing.assert_allclose(weights, [first / (first + second), second / (first + second), 0], rtol=1e-6)
    equal = hedge_weights(jnp.array([-3.0, -2.0]), jnp.ones(2), jnp.ones(2, bool))
    np.testing.assert_allclose(equal, [0.5, 0.5])
    far = hedge_weights(jnp.array([1e3, 0.0]), jnp.ones(2), jnp.ones(2, bool))
    np.testing.assert_allclose(far, [1, 0], atol=1e-6)


def test_regret_grows_where_the_loss_is_above_the_mean_and_not_while_a_group_sleeps():
    objective = Groupwise(groups=3, scale=2.0)
    known = {name: jnp.float32(0) for name in objective.running}
    mean = lambda value, count: Mean(jnp.float32(value * count), jnp.float32(count))
    found = {"group_0": mean(1.0, 4), "group_1": mean(0.2, 8), "group_2": mean(0.0, 0)}
    known = objective.advance(known, found)  # losses .5 and .1 with equal weights: .3 on average
    np.testing.assert_allclose([known[f"regret_{g}"] for g in range(3)], [0.2, -0.2, 0], atol=1e-6)
    np.testing.assert_allclose([known[f"absolute_{g}"] for g in range(3)], [0.2, 0.2, 0], atol=1e-6)
    for _ in range(30):
        known = objective.advance(known, found)
    weights = hedge_weights(*objective._state(known), jnp.ones(3, bool))
    assert weights[0] > 0.55
    assert weights[1] < weights[2]  # the group that was never seen is not behind


def test_the_loss_weighs_tokens_by_their_source_and_is_nll_otherwise():
    objective, policy, batch = Groupwise(groups=2, uniform=0.25), BigramPolicy(random_table()), random_batch()
    plain = Nll()(policy, batch)[0]
    np.testing.assert_allclose(objective(policy, batch)[0].value, plain.value, rtol=1e-6)
    count = batch.extras["segment_id"].shape
    source = jnp.asarray(np.arange(np.prod(count)).reshape(count) % 2, jnp.int32)
    mixed = batch._replace(extras={**batch.extras, "segment_source": source})
    known = {name: jnp.float32(0) for name in objective.running}
    np.testing.assert_allclose(objective(policy, mixed, running=known)[0].value, plain.value, rtol=1e-6)
    known["regret_1"] = jnp.float32(2.0)
    q = hedge_weights(jnp.array([0.0, 2.0]), jnp.zeros(2), jnp.ones(2, bool))
    parts = objective.statistics(policy, mixed)
    loss, metrics = objective(policy, mixed, running=known)
    weight = 2 * 0.75 * q + 0.25
    by_hand = sum(weight[g] * parts[f"group_{g}"].total for g in range(2)) / plain.count
    np.testing.assert_allclose(loss.value, by_hand, rtol=1e-5)
    np.testing.assert_allclose(metrics["group/1"].value, weight[1], rtol=1e-6)
    np.testing.assert_allclose(metrics["nll"].value, plain.value, rtol=1e-6)


def test_a_source_is_compared_with_its_own_expert():
    objective = Groupwise(scale=2.0, own=(0.9, 0.1))
    known = {name: jnp.float32(0) for name in objective.running}
    found = {"group_0": Mean(jnp.float32(4.0), jnp.float32(4)), "group_1": Mean(jnp.float32(1.6), jnp.float32(8))}
    known = objective.advance(known, found)  # 1 - .9 and .2 - .1: neither is behind
    np.testing.assert_allclose([known["regret_0"], known["regret_1"]], [0, 0], atol=1e-6)
    with pytest.raises(InputError, match="own has 1 numbers for groups=2"):
        Groupwise(own=(1.0,))
