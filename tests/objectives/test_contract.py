"""What every registered objective must obey. A new objective gets these tests by its registration alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.objectives import OBJECTIVES
from mtjax.types import Mean
from tests.objectives.fakes import BigramPolicy, random_batch, random_table, rows_of

every_objective = pytest.mark.parametrize("name", sorted(OBJECTIVES))
KEY = jax.random.key(0)


def batch_for(objective, **kwargs):
    return random_batch(pair=objective.task == "pair", **kwargs)


def loss_of(objective, table, batch, reference_table=None):
    reference = None
    if objective.needs_reference:
        reference = BigramPolicy(random_table(1) if reference_table is None else reference_table)
    return objective(BigramPolicy(table), batch, reference=reference, key=KEY)


def loss_and_gradient(objective, table, batch):
    """The loss as a mean of the batch, and the gradient of its total."""
    (_, loss), gradient = jax.value_and_grad(
        lambda table: (lambda loss: (loss.total, loss))(loss_of(objective, table, batch)[0]), has_aux=True
    )(table)
    return loss, gradient


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every_objective
def test_loss_and_gradient_are_finite_and_move_something(name):
    objective = OBJECTIVES[name]()
    loss, gradient = loss_and_gradient(objective, random_table(), batch_for(objective))
    assert isinstance(loss, Mean)
    assert loss.total.dtype == jnp.float32
    assert loss.count > 0
    assert np.isfinite(loss.total)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3


@every_objective
def test_tokens_of_zero_weight_that_nothing_depends_on_do_not_matter(name):
    """Overwrite the last token of the padding: no weight, and no later token is predicted from it."""
    objective = OBJECTIVES[name]()
    batch = batch_for(objective)
    other = batch._replace(tokens=jnp.where(batch.segments == 0, 7, batch.tokens))
    loss, gradient = loss_and_gradient(objective, random_table(), batch)
    loss_other, gradient_other = loss_and_gradient(objective, random_table(), other)
    close(loss, loss_other)
    close(gradient, gradient_other)


@every_objective
def test_a_batch_of_zero_weights_is_silent(name):
    objective = OBJECTIVES[name]()
    batch = batch_for(objective)
    loss, gradient = loss_and_gradient(objective, random_table(), batch._replace(weights=0 * batch.weights))
    assert loss.value == 0
    close(gradient, 0 * gradient)


@given(cut=st.integers(1, 3))
@every_objective
def test_any_split_of_a_batch_adds_up(name, cut):
    objective = OBJECTIVES[name]()
    batch = batch_for(objective)
    whole, gradient = loss_and_gradient(objective, random_table(), batch)
    first, gradient_first = loss_and_gradient(objective, random_table(), rows_of(batch, slice(0, cut)))
    rest, gradient_rest = loss_and_gradient(objective, random_table(), rows_of(batch, slice(cut, None)))
    close(whole, first.plus(rest))
    close(gradient, gradient_first + gradient_rest)


@every_objective
def test_the_order_of_rows_does_not_matter(name):
    objective = OBJECTIVES[name]()
    batch = batch_for(objective)
    loss, gradient = loss_and_gradient(objective, random_table(), batch)
    turned, gradient_turned = loss_and_gradient(objective, random_table(), rows_of(batch, np.array([2, 0, 3, 1])))
    close(loss, turned)
    close(gradient, gradient_turned)


@every_objective
def test_packed_equals_unpacked(name):
    """Each segment moved to a row of its own, at the start, gives the same loss and gradient."""
    objective = OBJECTIVES[name]()
    batch = batch_for(objective)
    rows = []
    numbers = batch.extras["segment_polarity"].shape[-1]
    for row in range(batch.tokens.shape[0]):
        for number in range(1, numbers + 1):
            one = rows_of(batch, np.array([row]))
            order = jnp.argsort(one.segments != number, axis=-1, stable=True)
            tokens, weights, segments = (
                jnp.take_along_axis(x, order, -1) for x in (one.tokens, one.weights, one.segments)
            )
            own = segments == number
            first = {name: jnp.roll(x, 1 - number, -1) for name, x in one.extras.items()}
            rows.append(one._replace(tokens=tokens, weights=weights * own, segments=1 * own, extras=first))
    unpacked = jax.tree.map(lambda *x: jnp.concatenate(x), *rows)
    loss, gradient = loss_and_gradient(objective, random_table(), batch)
    loss_unpacked, gradient_unpacked = loss_and_gradient(objective, random_table(), unpacked)
    close(loss, loss_unpacked)
    close(gradient, gradient_unpacked)


@every_objective
def test_jitted_equals_plain(name):
    objective = OBJECTIVES[name]()
    batch = batch_for(objective)
    plain = loss_of(objective, random_table(), batch)
    jitted = jax.jit(lambda table, batch: loss_of(objective, table, batch))(random_table(), batch)
    jax.tree.map(close, plain, jitted)


@every_objective
def test_no_gradient_reaches_the_reference(name):
    objective = OBJECTIVES[name]()
    gradient = jax.grad(lambda reference: loss_of(objective, random_table(), batch_for(objective), reference)[0].total)(
        random_table(1)
    )
    assert not np.any(gradient)


@every_objective
def test_metrics_are_means(name):
    objective = OBJECTIVES[name]()
    _, metrics = loss_of(objective, random_table(), batch_for(objective))
    assert metrics
    assert all(isinstance(metric, Mean) and np.isfinite(metric.value) for metric in metrics.values())


@every_objective
def test_it_says_what_it_is(name):
    text = OBJECTIVES[name].__doc__
    assert "Formula:" in text
    assert "Want it" in text
