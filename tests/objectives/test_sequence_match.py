"""SequenceMatch by hand and as likelihood; the backspace: its branches, its value, its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.tasks.backspace import BackspaceTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.objectives.nll import Nll
from mtjax.objectives.sequence_match import SequenceMatch, next_values
from tests.objectives.fakes import VOCAB, BigramPolicy, batch_of, outcome, random_batch, random_table

BYTES = load_tokenizer("bytes")
DATA = {"model_share": 0.0}


def test_two_steps_by_hand():
    """Logits (2, 0, -1) with action 0, then (0, 1, 0) with action 1, which ends the text."""
    table = (
        jnp.full((VOCAB, VOCAB), -jnp.inf).at[5, :3].set(jnp.array([2.0, 0, -1])).at[0, :3].set(jnp.array([0.0, 1, 0]))
    )
    batch, _ = batch_of([-1.0, -1.0], polarity=[1])
    tokens = jnp.zeros(batch.tokens.shape, jnp.int32).at[:, :3].set(jnp.array([5, 0, 1]))
    batch, policy = batch._replace(tokens=tokens), BigramPolicy(jnp.where(jnp.isfinite(table), table, -1e9))
    loss = lambda **settings: outcome(SequenceMatch(**DATA, **settings), policy, batch)
    plain = loss(chi2_weight=0.0)
    np.testing.assert_allclose(plain.loss.value, 0.3606453667, rtol=1e-6)
    np.testing.assert_allclose(plain.loss.value, plain.metrics["nll"].value, rtol=1e-6)
    np.testing.assert_allclose(loss().loss.value, 0.6609458279, rtol=1e-6)
    np.testing.assert_allclose(plain.metrics["reward"].value, (0.4485552861 + 1) / 2, rtol=1e-6)
    np.testing.assert_allclose(plain.metrics["value"].value, (2.1698460196 + 1.5514447139) / 2, rtol=1e-6)
    np.testing.assert_allclose(plain.loss.value + plain.metrics["reward"].value, 1.0849230098, rtol=1e-6)


def test_without_its_own_terms_it_is_likelihood():
    """In a batch without texts of the model the value term is the data's, whatever its share is."""
    batch, policy = random_batch(), BigramPolicy(random_table())
    batch = batch._replace(weights=1.0 * (batch.weights > 0))
    batch = batch._replace(extras=batch.extras | {"segment_polarity": jnp.ones_like(batch.extras["segment_polarity"])})
    found, nll = (outcome(one, policy, batch) for one in (SequenceMatch(chi2_weight=0.0), Nll()))
    np.testing.assert_allclose(found.loss, nll.loss, rtol=1e-5)
    np.testing.assert_allclose(found.gradient.table, nll.gradient.table, atol=1e-5)


def test_a_constant_on_all_logits_changes_the_loss():
    """Logits are values: adding 1 lowers the reward of a last token by nothing, and raises it elsewhere."""
    batch, table = random_batch(), random_table()
    one, other = (outcome(SequenceMatch(), BigramPolicy(t), batch).loss.value for t in (table, table + 1))
    assert abs(one - other) > 0.01


def test_the_value_term_of_the_model_s_texts():
    """A right text and one of the model, a token each, V 2 and 3, both at their end: half of either."""
    batch, _ = batch_of([-1.0], [-1.0], polarity=[1, 0])

    class Says:
        """Logit 1 everywhere, V 2 in the first row and 3 in the second."""

        def scores(self, batch):
            raise NotImplementedError

        hidden = scores

        def map_logits(self, fn, batch, also=()):
            return jnp.ones(batch.tokens.shape), jnp.zeros(batch.tokens.shape).at[0].set(2.0).at[1].set(3.0)

    loss, metrics = SequenceMatch(chi2_weight=0.25, model_share=0.5)(Says(), batch)
    np.testing.assert_allclose(loss, [-1 + 0.25 + 0.5 * 2 + 0.5 * 3, 1], rtol=1e-6)
    assert metrics["value_model"].value == 3


def test_a_backspace_leads_back_to_the_state_before():
    """Values 1, 2, 3, 4 of the states before each token; the last token of the second segment takes one back."""
    batch, _ = batch_of([-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0], backspace=[0, 1])
    value = jnp.broadcast_to(jnp.arange(1.0, 1 + batch.tokens.shape[1]), batch.tokens.shape)
    np.testing.assert_array_equal(next_values(value, batch)[:2, :4], [[2, 3, 4, 0], [2, 3, 4, 3]])


def test_branches_end_in_a_backspace_that_alone_counts():
    problem = Problem("p", "Q", right=("abcdefghij",), wrong=("zz",))
    task = BackspaceTask(rate=0.2, noise_tokens=2)
    whole, *branches, wrong = task.render(problem, BYTES)
    assert (whole.text, whole.ends, whole.extras["backspace"]) == ("Q\nabcdefghij", True, 0)
    assert (wrong.text, wrong.extras["polarity"]) == ("Q\nzz", 0)
    assert len(branches) == 4  # two places, two wrong tokens each
    for long, short in zip(branches[::2], branches[1::2], strict=True):
        for one in (long, short):
            assert one.text.endswith("\b")
            assert [(one.text[span.start : span.end], span.weight) for span in one.spans] == [("\b", 1.0)]
            assert not one.ends
            assert one.extras["backspace"] == 1
        stack, shorter = long.text[2:-1], short.text[2:-1]
        assert stack[:-1] == shorter  # one token less after the first backspace
        assert "abcdefghij".startswith(shorter[:-1])  # what is left after both is right
        assert not "abcdefghij".startswith(shorter)
    assert task.render(problem, BYTES) == task.render(problem, BYTES)


def test_what_is_refused():
    with pytest.raises(InputError, match="task.mark='<-' is no single token of 'bytes'"):
        BackspaceTask(mark="<-").render(Problem("p", "1", right=("2",)), BYTES)
    with pytest.raises(InputError, match="has the backspace"):
        BackspaceTask(mark="b").render(Problem("p", "Q", right=("abc",)), BYTES)


def test_far_logits_are_finite():
    table = jnp.where(jnp.eye(VOCAB) > 0, 1e4, -1e4)
    batch = random_batch()
    found = outcome(SequenceMatch(), BigramPolicy(table), batch)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((found.loss, found.gradient.table)))


def test_values_of_states_without_a_target_are_read():
    """A policy that scores targets alone, as in training, gives the same loss: a backspace reads the state before."""
    batch = random_batch()
    backs = jnp.ones_like(batch.extras["segment_polarity"])
    batch = batch._replace(extras=batch.extras | {"segment_backspace": backs})
    shape = DecoderConfig(vocab_size=VOCAB, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, mlp_width=8)
    model = make_language_model(shape)
    params = jax.jit(model.init)(jax.random.key(0))
    one, other = (
        jax.jit(
            lambda params, only=only: SequenceMatch()(make_policy(model, params, chunk=16, targets_only=only), batch)[0]
        )(params)
        for only in (False, True)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
