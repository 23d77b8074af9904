"""AOT and beta-DPO: golden values, DPO as a special case, what the entire batch decides."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives.aot import Aot
from mtjax.objectives.beta_dpo import BetaDpo, chosen_pairs
from mtjax.objectives.dpo import Dpo, dpo_loss
from tests.objectives.fakes import batch_of, outcome

POLICY = ([-12.0], [-15.0]), ([-8.5], [-10.0]), ([-20.0], [-15.0])
REFERENCE = ([-13.0], [-14.0]), ([-8.0], [-8.0]), ([-17.0], [-15.5])


@pytest.mark.parametrize(("form", "loss"), [("paired", 0.7008260242), ("unpaired", 0.6937719854)])
def test_aot_by_hand(form, loss):
    """The gradient of the sorted sum in NumPy's float64, by differences, is that of each text."""
    batch, policy = batch_of(*POLICY)
    _, reference = batch_of(*REFERENCE)
    found = outcome(Aot(beta=0.1, form=form), policy, batch, reference)
    np.testing.assert_allclose(found.loss.value, loss, rtol=1e-6)
    theirs = np.array([[w[0], r[0]] for w, r in REFERENCE]).T

    def sorted_sum(logprob):
        a, b = (logprob[0] - logprob[1], theirs[0] - theirs[1]) if form == "paired" else logprob - theirs
        return np.log1p(np.exp(-0.1 * (np.sort(a) - np.sort(b)))).sum()

    ours = np.array([[w[0], r[0]] for w, r in POLICY]).T
    np.testing.assert_allclose(sorted_sum(ours) / 3, loss, rtol=1e-9)
    for side, pair in np.ndindex(2, 3):
        step = np.zeros((2, 3))
        step[side, pair] = 1e-6
        slope = (sorted_sum(ours + step) - sorted_sum(ours - step)) / 2e-6
        np.testing.assert_allclose(found.gradient.logprob[pair, side, 1], slope, rtol=1e-5)


def test_one_pair_is_dpo():
    batch, policy = batch_of(([-1.0, -2.0], [-4.0]))
    _, reference = batch_of(([-2.0, -1.5], [-3.0]))
    dpo = outcome(Dpo(beta=0.1), policy, batch, reference)
    for form in ("paired", "unpaired"):
        aot = outcome(Aot(beta=0.1, form=form), policy, batch, reference)
        np.testing.assert_allclose(aot.loss, dpo.loss, rtol=1e-6)
        np.testing.assert_allclose(aot.gradient.logprob, dpo.gradient.logprob, rtol=1e-6)
        assert aot.loss.count == 1


def test_beta_dpo_by_hand():
    """Five margins with M 2 and S 1.5; four are kept. Of two equal weights the first stays."""
    margin = jnp.array([1.0, 2.0, 3.0, 6.0, -2.0])
    live, noise = jnp.ones(5, bool), jnp.zeros(5)
    kept = chosen_pairs(margin, live, noise, keep=0.8, center=2.0, deviation=1.5)
    assert kept.tolist() == [True, True, True, True, False]
    beta = 0.1 * (1 + 0.6 * (float(margin[kept].mean()) - 2))
    np.testing.assert_allclose(beta, 0.16, rtol=1e-6)
    np.testing.assert_allclose(dpo_loss(margin[kept], 0.0, beta=beta).mean(), 0.4920222960, rtol=1e-6)
    all_equal = chosen_pairs(jnp.zeros(5), live, noise, keep=0.8, center=0.0, deviation=0.0)
    assert all_equal.all()
    assert chosen_pairs(margin, live & (margin > 1), noise, keep=0.5, center=2.0, deviation=1.5).sum() == 1


def test_beta_dpo_of_a_batch():
    """Margins 1, 2, 3 and 30: the last is the outlier; the mean is over the three that stay."""
    pairs = [([m - 9.0], [-9.0]) for m in (1.0, 2.0, 3.0, 30.0)]
    batch, policy = batch_of(*pairs)
    _, reference = batch_of(*[([-9.0], [-9.0])] * 4)
    found = outcome(BetaDpo(keep=0.75, draw="top", center=2.5, over="batch"), policy, batch, reference)
    beta = 0.1 * (1 + 0.6 * (2 - 2.5))
    expected = np.mean([math.log1p(math.exp(-beta * m)) for m in (1, 2, 3)])
    np.testing.assert_allclose(found.loss.value, expected, rtol=1e-6)
    np.testing.assert_allclose(found.metrics["beta"].value, beta, rtol=1e-6)
    assert found.metrics["kept_share"].value == 0.75
    assert not found.gradient.logprob[3].any()
    # With moving means: M = 0.9 * 3 + 0.1 * 9 = 3.6, S = 0.9 * 2 + 0.1 sqrt(147.5); three are kept, of mean 2.
    objective = BetaDpo(keep=0.75, draw="top")
    known = {"margin_mean": jnp.float32(3), "margin_deviation": jnp.float32(2)}
    known = objective.advance(known, objective.pool(policy, batch, reference=reference))
    assert jax.tree.map(float, known) == {
        "margin_mean": pytest.approx(3.6),
        "margin_deviation": pytest.approx(1.8 + 0.1 * 147.5**0.5),
    }
    loss, metrics = objective(policy, batch, reference=reference, running=known)
    beta = 0.1 * (1 + 0.6 * (2 - 3.6))
    np.testing.assert_allclose(loss.value, np.mean([math.log1p(math.exp(-beta * m)) for m in (1, 2, 3)]), rtol=1e-6)
    np.testing.assert_allclose(metrics["margin_mean"].value, 3.6, rtol=1e-6)
    empty = batch._replace(weights=0 * batch.weights)
    after = objective.advance(known, objective.pool(policy, empty, reference=reference))
    assert jax.tree.map(float, after) == jax.tree.map(float, known)
    # No filter and no scale: DPO.
    plain, dpo = (outcome(o, policy, batch, reference) for o in (BetaDpo(keep=1.0, scale=0.0), Dpo()))
    np.testing.assert_allclose(plain.loss, dpo.loss, rtol=1e-6)
    np.testing.assert_allclose(plain.gradient.logprob, dpo.gradient.logprob, rtol=1e-6)


def test_pairs_are_drawn_by_their_weight():
    """Kept one of two: the chance of the first is its share of the weights, which Gumbel noise gives."""
    margin, live = jnp.array([0.0, 2.0]), jnp.ones(2, bool)
    noise = jax.random.gumbel(jax.random.key(0), (4000, 2))
    draw = lambda noise: chosen_pairs(margin, live, noise, keep=0.5, center=0.0, deviation=2.0)
    share = np.asarray(jax.jit(jax.vmap(draw))(noise))[:, 0].mean()
    np.testing.assert_allclose(share, 1 / (1 + math.exp(-0.5)), atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("objective", [Aot(), Aot(form="unpaired"), BetaDpo(), BetaDpo(draw="top", keep=0.5)], ids=repr)
def test_pairs_far_apart_are_finite(objective):
    batch, policy = batch_of(([-1e4], [-1.0]), ([-1.0], [-1e4]), ([-1.0], [-1.0]))
    _, reference = batch_of(([-1.0], [-1e4]), ([-1e4], [-1.0]), ([-1.0], [-1.0]))
    found = outcome(objective, policy, batch, reference)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((found.loss, found.gradient.logprob)))
