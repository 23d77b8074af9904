"""Paper 1, mistake tuning: weight 0 on wrong rationales is training on right ones, and masks are as stated."""

import jax.numpy as jnp
import numpy as np

from mtjax.data.problem import Problem
from mtjax.data.tasks import MistakeTask
from mtjax.objectives import base
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.objectives.nll import Nll
from tests.objectives.fakes import BigramPolicy, outcome, random_batch, random_table


def test_weight_zero_is_sft_on_the_right_ones_and_each_choice_masks_the_stated_text():
    batch, policy = random_batch(), BigramPolicy(random_table())
    right = batch._replace(weights=batch.weights * base.spread(batch.extras["segment_polarity"], batch.segments))
    ours, theirs = outcome(MistakeTuning(0.0), policy, batch), outcome(Nll(), policy, right)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-6)
    assert jnp.allclose(ours.gradient.table, theirs.gradient.table, atol=1e-6)
    problem = Problem("p", "Q?", right=("ab",), wrong=("xyz",))
    targets = {}
    for loss_on in ("all", "prefix+rationale", "rationale"):
        task = MistakeTask(decode_prefix="correct", correct_prefix="[R]", incorrect_prefix="[W]", loss_on=loss_on)
        (one, other) = task.render(problem)
        targets[loss_on] = "".join(one.text[span.start : span.end] for span in one.spans)
        assert (one.text, other.text) == ("Q?\n[R]\nab", "Q?\n[W]\nxyz")
    assert targets == {"all": "Q?\n[R]\nab", "prefix+rationale": "[R]ab", "rationale": "ab"}
