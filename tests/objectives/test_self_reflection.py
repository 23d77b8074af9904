"""Self-reflection: triplets by hand, packed states, missing sides; the task that makes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks.triplet import TripletTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.objectives.self_reflection import SelfReflection, cosine, triplet_loss
from tests.objectives.fakes import BigramPolicy, random_batch, random_table

BYTES = load_tokenizer("bytes")
A = jnp.array([1.0, 0.0])


def at(cosine):
    """A vector of length 2 at this cosine from A."""
    return 2 * jnp.array([cosine, np.sqrt(1 - cosine**2)])


def test_a_triplet_by_hand():
    """cos(a, p) = 0.9, cos(a, n) = 0.6: 0.7."""
    np.testing.assert_allclose(triplet_loss(A, at(0.9), at(0.6), margin=1.0), 0.7, rtol=1e-6)
    np.testing.assert_allclose(0.5 * triplet_loss(A, at(0.9), at(0.6), margin=1.0), 0.35, rtol=1e-6)
    assert triplet_loss(A, at(0.9), at(-0.2), margin=1.0) == 0  # only where they are 1 apart
    np.testing.assert_allclose(triplet_loss(A, A, at(0.6), margin=1.0), 0.6, rtol=1e-6)  # a pure push
    value, slope = jax.value_and_grad(lambda x: cosine(x, A))(jnp.zeros(2))
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


class States(BigramPolicy):
    """Hidden states of its own; scores of the table."""

    def hidden(self, batch):
        return STATES[batch.tokens]


STATES = jnp.stack([A, at(0.9), at(0.6), jnp.array([jnp.nan, 0.0])])


def triplet(missing=False):
    """One triplet: the last tokens of its texts are 0, 1 and 2; a row of it may have no positive."""
    batch = jax.tree.map(lambda x: 0 * x[:1], random_batch(rows=1, length=4, max_segments=1, group=3))
    tokens = jnp.asarray([[[3, 3, 0, 0], [3, 3, 1, 0], [3, 3, 2, 0]]])
    segments = (
        jnp.asarray([[[1, 1, 1, 0]] * 3]) * (jnp.asarray([1, 0, 1]) if missing else jnp.ones(3, jnp.int32))[:, None]
    )
    weights = jnp.asarray([[[0.1, 0.1, 1.0, 0.0]] * 3]) * (segments > 0)
    return batch._replace(tokens=tokens, segments=segments, weights=weights)


def test_the_two_terms_by_hand():
    """The prompt's target has weight 0.1, and the mean divides by targets, of which there are two."""
    policy, batch = States(random_table()), triplet()
    logprob = policy.scores(batch).logprob[0, 0]
    loss, metrics = SelfReflection()(policy, batch)
    expected = -(0.1 * logprob[1] + logprob[2]) / 2 + 0.35
    np.testing.assert_allclose(loss.value, expected, rtol=1e-6)
    assert loss.count == 2
    assert metrics["active_share"].value == 1
    np.testing.assert_allclose([metrics["cosine_right"].value, metrics["cosine_wrong"].value], [0.9, 0.6], rtol=1e-6)
    # Where a side is missing, its state is not looked at, whatever it is, and nothing else changes.
    loss, metrics = SelfReflection()(policy, triplet(missing=True))
    np.testing.assert_allclose(loss.value, expected - 0.35, rtol=1e-6)
    assert metrics["triplet_loss"].count == 0
    with pytest.raises(InputError, match=r"expected \(B, 3, T\)"):
        SelfReflection()(policy, random_batch())


def test_the_task_draws_another_right_and_a_wrong_solution():
    problem = Problem("p", "Q", right=("a", "b", "a"), wrong=("x", "y"))
    first, second = (TripletTask().render(problem, BYTES)[start : start + 3] for start in (0, 3))
    assert [one.text for one in first[:2]] == ["Q\na", "Q\nb"]
    assert [one.text for one in second[:2]] == ["Q\nb", "Q\na"]
    assert first[2].text in ("Q\nx", "Q\ny")
    assert [(span.start, span.end, span.weight) for span in first[0].spans] == [(0, 2, 0.1), (2, 3, 1.0)]
    assert [span.weight for span in first[1].spans] == [1.0]
    alone = TripletTask(prompt_weight=0).render(Problem("p", "Q", right=("a",)), BYTES)
    assert [one.text for one in alone] == ["Q\na", "", ""]


def test_a_batch_of_both_kinds():
    problems = (Problem("p", "Q", right=("ab", "c"), wrong=("x",)), Problem("q", "R", right=("d",)))
    data = DataConfig(source=InMemory(problems), task=TripletTask(), sequence_length=16, max_segments=3)
    batch = make_batches(data, BYTES, batch_size=1, seed=0, repeat=False).batch_at(0)
    complete = SelfReflection()._complete(jax.tree.map(jnp.asarray, batch))
    assert batch.tokens.shape == (1, 3, 16)
    assert int(complete.sum()) == 2  # two anchors of p, none of q
