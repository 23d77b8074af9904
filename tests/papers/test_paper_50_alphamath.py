"""Paper 50, AlphaMath: the tree search finds the planted path, an oracle solves in depth steps, the loss by hand."""

import jax.numpy as jnp
import numpy as np

from mtjax.mistakes.curation.valued import Valued
from mtjax.objectives.alphamath import AlphaMath
from mtjax.sampling.search.tree import best_path, puct_search, step_beam
from tests.mistakes.test_curation import HELP, SUM, attempted, one
from tests.objectives import test_alphamath
from tests.objectives.fakes import batch_of
from tests.sampling import test_tree as tree


def test_searches_find_the_planted_path():
    root = puct_search(tree.propose, tree.blind, 60, tree.DEPTH, reward=tree.reward)
    assert best_path(root).tokens == tree.PLANTED
    found = step_beam(tree.propose, tree.oracle, 1, tree.DEPTH, lambda path: True)
    assert [path.tokens for path in found] == [tree.PLANTED]


def test_right_paths_are_likelier_and_values_are_squared():
    """Right tokens -1 and -2; values .1 and .4 for the targets .2 and .5, on the two tokens."""
    batch, policy = batch_of([-1.0, -2.0], polarity=[1])
    said, goal, weight = (jnp.zeros(batch.tokens.shape).at[0, 1:3].set(x) for x in ([0.1, 0.4], [0.2, 0.5], 1.0))
    batch = batch._replace(extras=batch.extras | {"value_target": goal, "value_weight": weight})
    loss = AlphaMath(value_weight=0.5)(test_alphamath.Valued(policy, said), batch)[0].value
    np.testing.assert_allclose(loss, 1.5 + 0.5 * 0.01, rtol=1e-5)


def test_values_of_a_tree_become_targets_of_a_round():
    first = "Step 1: 2 + 3 = 5\n"
    right = one(f"{first}Answer: 5", "right", steps=(first, "Answer: 5"), step_values=(0.4, 1.0))
    made = Valued()([attempted(SUM, right)], None, HELP)
    assert made.problems[0].candidates[0].values == (0.4, 1.0)
