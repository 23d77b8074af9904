"""KTO by hand; its point of reference is the whole batch's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.objectives.kto import Kto, kto_loss
from mtjax.types import Mean
from tests.objectives.fakes import FixedPolicy, batch_of, outcome, rows_of

sigmoid = lambda x: 1 / (1 + math.exp(-x))


def test_by_hand():
    loss = kto_loss(jnp.array([2.0, 2.0]), jnp.array([1, 0]), 0.5, beta=0.4, right_weight=1.5, wrong_weight=2.0)
    # right: 1.5 (1 - sigmoid(0.4 * 1.5)); wrong: 2 (1 - sigmoid(-0.4 * 1.5))
    np.testing.assert_allclose(loss, [1.5 * (1 - sigmoid(0.6)), 2 * (1 - sigmoid(-0.6))], rtol=1e-6)
    np.testing.assert_allclose(kto_loss(3.0, True, 3.0, beta=0.1), 0.5)


def test_a_batch_by_hand():
    # Log-ratios 3 (right), -1 (wrong), 1 (right): z0 is their mean, 1. Gains over it: 2, 2, 0.
    batch, policy = batch_of([-1.0, -1.0], [-4.0], [-2.0], polarity=[1, 0, 1])
    _, reference = batch_of([-2.0, -3.0], [-3.0], [-3.0], polarity=[1, 0, 1])
    loss, metrics, _ = outcome(Kto(beta=0.5), policy, batch, reference)
    np.testing.assert_allclose(loss, [2 * (1 - sigmoid(1)) + 0.5, 3], rtol=1e-6)
    assert metrics["z0"].value == 1
    assert metrics["reward_right"] == (2, 2)
    assert metrics["reward_wrong"] == (-0.5, 1)


def test_z0_is_clipped_at_zero_and_may_be_given():
    batch, policy = batch_of([-5.0], [-6.0], polarity=[1, 0])
    _, reference = batch_of([-4.0], [-4.0], polarity=[1, 0])
    statistics = Kto().statistics(policy, batch, reference=reference)
    assert statistics == {"logratio": Mean(-3, 2)}
    assert Kto()(policy, batch, reference=reference)[1]["z0"].value == 0
    given = Kto(beta=1)(
        policy, batch, reference=reference, statistics={"logratio": Mean(jnp.float32(4), jnp.float32(2))}
    )
    np.testing.assert_allclose(given[0].total, 1 - sigmoid(-1 - 2) + 1 - sigmoid(2 + 2), rtol=1e-6)


def test_parts_with_their_own_z0_would_not_add_up():
    """What the statistics of the whole batch are for."""
    batch, policy = batch_of([-1.0], [-4.0], polarity=[1, 0])
    _, reference = batch_of([-3.0], [-4.0], polarity=[1, 0])
    whole = Kto().statistics(policy, batch, reference=reference)
    parts = [
        (rows_of(batch, slice(i, i + 1)), *(FixedPolicy(p.logprob[i : i + 1]) for p in (policy, reference)))
        for i in (0, 1)
    ]
    loss = jax.jit(lambda part, **known: Kto(beta=1)(part[1], part[0], reference=part[2], **known)[0].total)
    total = outcome(Kto(beta=1), policy, batch, reference).loss.total
    np.testing.assert_allclose(sum(loss(part, statistics=whole) for part in parts), total, rtol=1e-6)
    assert abs(sum(loss(part) for part in parts) - total) > 0.1


def test_z0_carries_no_gradient():
    batch, policy = batch_of([-1.0], [-2.0], polarity=[1, 0])
    _, reference = batch_of([-3.0], [-2.0], polarity=[1, 0])
    gradient = outcome(Kto(beta=1), policy, batch, reference).gradient.logprob
    # z0 = 1; 1 - sigmoid(r - 1) at r = 2 and 1 - sigmoid(1 - r) at r = 0 have slopes -+ s (1 - s), s = sigmoid(1)
    slope = sigmoid(1) * (1 - sigmoid(1))
    np.testing.assert_allclose(gradient[:2, 1], [-slope, slope], rtol=1e-5)


def test_the_closed_form_and_bad_settings():
    assert Kto(right_weight=1.2, wrong_weight=1.2).at_reference == 0.6
    assert Kto(right_weight=1.2).at_reference is None
    with pytest.raises(InputError, match="beta=-1"):
        Kto(beta=-1)
    with pytest.raises(InputError, match="wrong_weight=inf"):
        Kto(wrong_weight=float("inf"))


def test_sides_of_pairs_count_apart():
    batch, policy = batch_of(([-1.0], [-2.0]))
    assert outcome(Kto(), policy, batch, policy).loss == (1, 2)
