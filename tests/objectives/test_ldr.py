"""LDR and ALDR: golden values, cross-entropy as a special case, the temperature's equation, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives.aldr import Aldr, aldr_loss, aldr_temperature
from mtjax.objectives.ldr import Ldr, ldr_kl, log_size, margins
from tests.objectives.fakes import VOCAB, BigramPolicy, outcome, random_batch, random_table

ROW, LABEL = jnp.array([[2.0, -1.0, 0.5, 0.0]]), jnp.array([2])
SIZE = log_size(ROW)


@pytest.mark.parametrize(
    ("margin", "temperature", "loss"),
    [
        (0, 1, 0.456055221),
        (0.1, 1, 0.540862385),
        (1, 0.1, 2.361370564),
        (0.1, 0.1, 1.461370575),
        (0.1, 10, 0.009142184),
    ],
)
def test_ldr_by_hand(margin, temperature, loss):
    """Worked again in float64: the value that our note gives for margin 0.1 and temperature 0.1 is that of margin 1."""
    with jax.enable_x64(True):
        row = jnp.asarray(np.asarray(ROW), jnp.float64)
        found = ldr_kl(margins(row, LABEL, margin), log_size(row), temperature)
    np.testing.assert_allclose(found, [loss], rtol=1e-6)


def of_batch(objective):
    batch = random_batch()
    return outcome(objective, BigramPolicy(random_table()), batch)


def test_ldr_of_the_largest_margins_and_cross_entropy():
    mean = lambda k: float(jnp.mean(jax.lax.top_k(margins(ROW, LABEL, 1.0), k)[0]))
    np.testing.assert_allclose([mean(k) for k in (1, 2, 3, 4)], [2.5, 1.5, 1.0, 0.625], rtol=1e-6)
    found = of_batch(Ldr(margin=0))
    nll = found.metrics["nll"]
    np.testing.assert_allclose(found.loss, [nll.total - np.log(VOCAB) * nll.count, nll.count], rtol=1e-5)
    largest, every = of_batch(Ldr(kind="top_k", k=1)), of_batch(Ldr(kind="top_k", k=VOCAB))
    np.testing.assert_allclose(of_batch(Ldr(temperature=1e-3)).loss, largest.loss, rtol=1e-2)
    np.testing.assert_allclose(of_batch(Ldr(temperature=1e4)).loss, every.loss, rtol=1e-2)


def test_aldr_by_hand_and_its_gradient():
    m = margins(ROW, LABEL, 0.1)
    lam = aldr_temperature(m, SIZE, 1.0, 2.0)
    np.testing.assert_allclose(lam, [0.695439547], rtol=1e-6)
    np.testing.assert_allclose(aldr_loss(m, SIZE, temperature=1.0, alpha=2.0), [0.616476814], rtol=1e-6)
    of = lambda loss: jax.grad(lambda z: loss(margins(z, LABEL, 0.1)).sum())(ROW)
    adaptive = of(lambda m: aldr_loss(m, SIZE, temperature=1.0, alpha=2.0))
    np.testing.assert_allclose(adaptive, of(lambda m: ldr_kl(m, SIZE, lam)), rtol=1e-6)


def test_the_temperature_solves_its_equation_and_is_the_worst_case():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(50, 17)) * 3, jnp.float32)
    m, size = margins(rows, jnp.zeros(50, jnp.int32), 0.1), jnp.full(50, np.log(17.0))
    lam = aldr_temperature(m, size, 2.0, 2.0)
    assert ((lam >= 1) & (lam <= 2)).all()
    log_q = np.asarray(jax.nn.log_softmax(m / lam[:, None]), np.float64)
    kl = np.log(17) + (np.exp(log_q) * log_q).sum(-1)
    np.testing.assert_allclose(lam, 2 - 2 * kl / (2 * np.log(17)), atol=1e-5)
    penalised = lambda lam: ldr_kl(m, size, lam) - 2 * size * (lam - 2) ** 2 / 4
    grid = jnp.max(jnp.stack([penalised(jnp.full(50, x)) for x in np.linspace(1, 2, 41)]), axis=0)
    assert (penalised(lam) >= grid - 1e-4).all()


def test_far_and_impossible_tokens_are_finite():
    rows = jnp.asarray([[1e4, -1e4, 0], [-1e4, 1e4, 0], [0.0, -jnp.inf, 3.0]])
    tokens = jnp.array([0, 0, 0])
    for loss in (
        lambda z: ldr_kl(margins(z, tokens, 0.1), log_size(z), 0.1),
        lambda z: aldr_loss(margins(z, tokens, 0.1), log_size(z), temperature=1.0, alpha=2.0),
    ):
        value, gradient = jax.value_and_grad(lambda z, loss=loss: loss(z).sum())(rows)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    np.testing.assert_allclose(np.exp(log_size(rows)), [3, 3, 2], rtol=1e-6)


def test_the_worst_case_is_no_better_than_the_largest_temperature():
    adaptive, fixed = of_batch(Aldr()).loss, of_batch(Ldr(margin=0.1)).loss
    assert adaptive.total >= fixed.total
    assert adaptive.count == fixed.count
