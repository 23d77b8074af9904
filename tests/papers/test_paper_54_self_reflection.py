"""Paper 54, tailored learning: the triplet loss by hand, 0 where the margin holds, and it pushes wrong states away."""

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.mistakes.curation.tailored import Tailored
from mtjax.objectives.self_reflection import triplet_loss
from mtjax.sampling.teacher import Teacher
from tests.mistakes.test_curation import HELP, MIXED, SOLVED

ANCHOR = jnp.array([1.0, 0.0])


def at(cosine):
    return 2 * jnp.array([cosine, np.sqrt(1 - cosine**2)])


def test_triplets():
    np.testing.assert_allclose(triplet_loss(ANCHOR, at(0.9), at(0.6), margin=1.0), 0.7, rtol=1e-6)
    assert triplet_loss(ANCHOR, at(0.9), at(-0.2), margin=1.0) == 0
    wrong = at(0.6)
    step = wrong - 0.1 * jax.grad(lambda x: triplet_loss(ANCHOR, at(0.9), x, margin=1.0))(wrong)
    assert step @ ANCHOR / jnp.linalg.norm(step) < 0.6


def test_a_round_is_of_what_was_failed_in_it():
    asked = []
    teach = lambda teacher, requests: asked.extend(requests) or ["Tailored.\nAnswer: 9"] * len(requests)
    tailored = Tailored(teacher=Teacher(url="http://host"))
    first = tailored([MIXED, SOLVED], None, HELP._replace(teach=teach))
    assert [problem.id for problem in first.problems] == ["sum"]  # SOLVED has no wrong sample
    assert "Tailored.\nAnswer: 9" in first.problems[0].right
    assert asked
    assert tailored([SOLVED], first.kept, HELP._replace(teach=teach)).problems == []
