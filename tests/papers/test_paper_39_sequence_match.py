"""Paper 39, SequenceMatch: without its own terms it is likelihood, and a backspace restores the state before."""

import jax.numpy as jnp
import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.tasks.backspace import BackspaceTask
from mtjax.objectives.nll import Nll
from mtjax.objectives.sequence_match import SequenceMatch
from tests.objectives.fakes import BigramPolicy, outcome, random_batch, random_table


def test_without_its_own_terms_it_is_likelihood():
    batch, policy = random_batch(), BigramPolicy(random_table())
    batch = batch._replace(weights=1.0 * (batch.weights > 0))
    batch = batch._replace(extras=batch.extras | {"segment_polarity": jnp.ones_like(batch.extras["segment_polarity"])})
    found, nll = (outcome(one, policy, batch) for one in (SequenceMatch(chi2_weight=0.0), Nll()))
    np.testing.assert_allclose(found.gradient.table, nll.gradient.table, atol=1e-5)


def test_as_many_backspaces_as_wrong_tokens_restore_the_prefix():
    texts = BackspaceTask(mark="<", noise_tokens=2, rate=0.2).render(Problem("p", "Q", right=("abcdefgh",)))
    stacks = [one.text[one.prompt_end : -1] for one in texts[1:]]
    assert stacks
    assert all(one.text[span.start : span.end] == "<" for one in texts[1:] for span in one.spans)
    shortest = {}
    for stack in stacks:  # each branch takes one wrong token back, from the second to the first
        shared = next((n for n in range(len(stack)) if stack[: n + 1] != "abcdefgh"[: n + 1]), len(stack))
        assert 1 <= len(stack) - shared <= 2
        shortest.setdefault(shared, set()).add(len(stack) - shared)
    assert all(wrong == {1, 2} for wrong in shortest.values())
