"""Paper 4, RISE: injected steps are wrong and near, log 2 at the reference, and the shared prefix has no gradient."""

import numpy as np

from mtjax.data.sources import Arithmetic
from mtjax.mistakes.filters import levenshtein
from mtjax.mistakes.injection import Rules, Yields, inject
from mtjax.objectives.rise import Rise, rise_loss
from tests.objectives.fakes import batch_of, outcome


def test_edits_are_small_and_proved_wrong():
    made = list(inject(Arithmetic(count=40, split="train").problems().items, Rules(seed=1, alpha=9), Yields()))
    assert len(made) > 20
    for one in made:
        assert one.verdict == "proved"
        assert one.wrong_answer or one.kind == "step"
        assert 0 < levenshtein(one.right_step, one.wrong_step) < 9


def test_the_loss_at_the_reference_and_by_hand():
    np.testing.assert_allclose(rise_loss(-1.0, -2.0, 12.0, beta=0.4, nll_weight=0.05), 0.5130152524 + 0.6, rtol=1e-6)
    batch, policy = batch_of(([-1.0, -2.0], [-1.0, -4.0]), kind=[1])
    found = outcome(Rise(beta=0.4), policy, batch, policy)
    np.testing.assert_allclose(found.loss.value, np.log(2), rtol=1e-6)
    chosen, rejected = found.gradient.logprob[0, :, 1]  # the first token is the same on both sides
    np.testing.assert_allclose(chosen + rejected, 0, atol=1e-7)
