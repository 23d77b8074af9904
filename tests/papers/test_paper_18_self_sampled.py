"""Paper 18, self-sampled solutions: MML's gradient is posterior-weighted MLE, and the buffer has no duplicates."""

import numpy as np

from mtjax.mistakes.curation.distinct import Distinct
from mtjax.mistakes.curation.partly_right import Buffers, grown
from mtjax.objectives.mml import Mml
from tests.mistakes.test_curation import HELP, MIXED, SUM, attempted, one, program
from tests.objectives import test_mml
from tests.objectives.fakes import outcome


def test_the_gradient_of_mml_is_the_posterior():
    """Sums -1 and -3: shares e^-1 and e^-3 of their sum."""
    batch, policy = test_mml.group([[-1.0], [-2.5, -0.5], [-0.1]], [1, 1, 0])
    found = outcome(Mml(), policy, batch)
    posterior = np.exp([-1.0, -3.0]) / np.exp([-1.0, -3.0]).sum()
    np.testing.assert_allclose(-found.gradient.logprob[0, :, 1], [*posterior, 0], rtol=1e-5)


def test_the_buffer_holds_each_solution_once():
    first = Distinct()([MIXED], None, HELP)
    again = Distinct()([MIXED], first.kept, HELP)
    assert again.problems[0].right == first.problems[0].right
    new = attempted(SUM, one("Step 1: 4 + 3 = 7\nStep 2: 7 + 2 = 9\nAnswer: 9", "right"))
    grown = Distinct()([new], first.kept, HELP).problems[0].right
    assert len(set(grown)) == len(grown) == len(first.problems[0].right) + 1


def test_a_beginning_is_kept_if_and_only_if_its_state_is_known():
    start = grown(Buffers(), program("a=4", "b=5", "!9"), 0)
    assert grown(start, program("x=4", "y=7", "!11"), 0).partial == (("x=4",),)
    assert grown(start, program("x=3", "!11"), 0).partial == ()
