"""The losses of tokens shaped by confidence: golden values, slopes, identities, extremes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.objectives.asft import Asft, row_kl
from mtjax.objectives.confidence import times_probability
from mtjax.objectives.dft import Dft
from mtjax.objectives.eaft import Eaft, top_entropy
from mtjax.objectives.focal import Focal, focal_loss
from mtjax.objectives.gce import Gce, gce_loss
from mtjax.objectives.gem import Gem, gem_loss
from mtjax.objectives.label_smoothing import LabelSmoothing
from mtjax.types import Batch, TokenScores

ROWS = np.array([[2.0, 1, 0, -1], [2, 1, 0, -1], [0, 0, 0, 0]])
THEIRS = np.array([[1.0, 1, 0, 0]] * 3)
LABELS = np.array([0, 3, 1])


class Rows:
    """A policy whose logits are the given rows, one for each token of the one row of the batch."""

    def __init__(self, logits):
        self.logits = logits

    def scores(self, batch):
        logprob = jax.nn.log_softmax(self.logits)
        entropy = -jnp.sum(jnp.exp(logprob) * logprob, -1)
        taken = jnp.take_along_axis(logprob, batch.tokens[0][:, None], -1)[:, 0]
        return TokenScores(*(x[None] for x in (taken, entropy, jnp.max(logprob, -1))))

    def hidden(self, batch):
        raise NotImplementedError

    def map_logits(self, fn, batch, also=()):
        both = tuple(one.logits for one in (self, *also))
        return jax.tree.map(lambda x: x[None], fn(both if also else both[0], batch.tokens[0], {}))


@functools.partial(jax.jit, static_argnums=0)
def losses_and_gradients(objective, rows, theirs):
    batch = Batch(jnp.asarray(LABELS)[None], jnp.ones((1, 3)), jnp.ones((1, 3), jnp.int32), {})

    def of(rows):
        policy = Rows(rows)
        scores = policy.scores(batch)
        found = objective.losses(scores.logprob, scores, policy, batch, Rows(theirs))[0]
        return found.sum(), found

    (_, losses), gradient = jax.value_and_grad(of, has_aux=True)(rows)
    return losses, gradient


GOLDEN = {
    Dft(): (0.2834444, 0.1102877, 0.3465736),
    Asft(): (0.3037166, 0.1305599, 0.3576680),
    Asft(direction="reverse"): (0.3012519, 0.1280952, 0.3585850),
    Eaft(): (0.1390320, 1.086569, 0.6406040),
    Eaft(form="axolotl"): (0.4170960, 3.259707, 1.921812),
    Eaft(form="exact"): (0.3008712, 2.351381, 1.386294),
    Focal(): (0.05581476, 3.223150, 0.7797906),
    Gce(q=0.5): (0.3951146, 1.641902, 1.0),
    LabelSmoothing(): (0.5901897, 3.290190, 1.386294),
    Gem(kind="linear"): (-0.3019479, 2.698052, 0),
    Gem(): (-0.1498426, 1.368127, 0),
}
SLOPES = {  # on the logits of row a, or b
    Dft(): (0, [-0.229289, 0.152532, 0.0561135, 0.020643]),
    Asft(): (0, [-0.20145, 0.139668, 0.0513808, 0.0104018]),
    Gem(kind="linear"): (0, [-0.237135, 0.182821, 0.0438134, 0.0104999]),
    Gem(): (1, [0.387154, 0.0923248, 0.0220162, -0.501495]),
}


@pytest.mark.parametrize("objective", GOLDEN, ids=repr)
def test_golden_values_and_slopes(objective):
    with jax.enable_x64(True):
        losses, gradient = losses_and_gradients(objective, ROWS, THEIRS)
    # The rows are float32 inside `map_logits`, as they are in training.
    np.testing.assert_allclose(losses, GOLDEN[objective], rtol=1e-6, atol=2e-7)
    if objective in SLOPES:
        row, expected = SLOPES[objective]
        np.testing.assert_allclose(gradient[row], expected, rtol=1e-5, atol=1e-6)
    if objective == Gem(kind="linear"):  # training at temperature beta
        cross = lambda z: -0.7 * (jax.nn.log_softmax(z / 0.7) * np.eye(4)[LABELS]).sum()
        np.testing.assert_allclose(gradient, jax.grad(cross)(jnp.asarray(ROWS)), rtol=1e-5, atol=1e-7)


def factor(loss, probability):
    """What a loss makes of the gradient of -log p."""
    return -jax.vmap(jax.grad(loss))(jnp.log(jnp.asarray(probability)))


def test_factors_of_the_table():
    p = np.array([0.01, 0.1, 0.5, 0.9])
    with jax.enable_x64(True):
        np.testing.assert_allclose(factor(times_probability, p), p, rtol=1e-9)  # DFT's gradient is that of -p
        np.testing.assert_allclose(factor(lambda x: gce_loss(x, q=1.0), p), p, rtol=1e-9)
        np.testing.assert_allclose(factor(lambda x: gce_loss(x, q=0.5), p), np.sqrt(p), rtol=1e-9)
        focal = factor(lambda x: focal_loss(x, gamma=2.0), p)
        np.testing.assert_allclose(focal, [1.0713, 1.2245, 0.59657, 0.028965], rtol=5e-5)
        np.testing.assert_allclose(factor(lambda x: focal_loss(x, gamma=0.0), p), 1, rtol=1e-9)
        np.testing.assert_allclose(factor(lambda x: gce_loss(x, q=1e-9), p), 1, rtol=1e-6)


def test_certain_and_impossible_tokens_stay_finite():
    rows = jnp.asarray([[1e4, 0, -1e4, -jnp.inf], [-1e4, 1e4, 0, -jnp.inf]])
    of_rows = (
        lambda z: gem_loss(z, jnp.asarray([2, 0]), beta=0.7, kind="logsigmoid"),
        lambda z: row_kl(z, jnp.zeros_like(z)),
        lambda z: top_entropy(z, 20),
    )
    of_tokens = (
        times_probability,
        lambda x: gce_loss(x, q=0.7),
        *(lambda x, g=g: focal_loss(x, gamma=g) for g in (0.5, 2)),
    )

    @jax.jit
    def everything(far, rows):
        values = [jax.vmap(jax.value_and_grad(loss))(far) for loss in of_tokens]
        return values, [(fn(rows), jax.grad(lambda z, fn=fn: fn(z).sum())(rows)) for fn in of_rows]

    values, of = everything(jnp.asarray([-1e4, -104.0, -1e-9, 0.0]), rows)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((values, of)))
    np.testing.assert_array_equal(values[0][0][:2], 0)  # p is 0 in float32: the right limit, not NaN
    impossible = everything(jnp.asarray([-jnp.inf, -jnp.inf, -1e-9, 0.0]), rows)[0]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(impossible[:2]))  # DFT and GCE
