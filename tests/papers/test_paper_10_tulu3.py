"""Paper 10, Tulu 3: DPO on means per token, and rewards of verified answers."""

import numpy as np

from mtjax.data.answers import Verdict
from mtjax.data.problem import Problem
from mtjax.evaluation.rewards.verdict import VerdictReward
from mtjax.objectives.dpo import dpo_tulu3
from mtjax.sampling.sampler import Sample
from tests.objectives.fakes import batch_of, outcome


def test_a_text_twice_as_long_with_the_same_mean_has_the_same_loss():
    once, twice = [(([one] * n, [two] * n)) for n in (2, 4) for one, two in ((-1.0, -2.0),)]
    reference = [(([-1.25] * n, [-1.75] * n)) for n in (2, 4)]
    losses = []
    for policy_row, reference_row in zip((once, twice), reference, strict=True):
        batch, policy = batch_of(policy_row)
        losses.append(outcome(dpo_tulu3(), policy, batch, batch_of(reference_row)[1]).loss.value)
    np.testing.assert_allclose(losses, np.log1p(np.exp(-5 * 0.5)), rtol=1e-5)


def test_the_reward_of_an_answer_without_an_end_is_replaced():
    reward, problem = VerdictReward(10.0, 0.0, unfinished=-10.0), Problem("p", "17 + 5 =", "22")
    found = [reward(problem, Sample("22"), verdict) for verdict in (Verdict.RIGHT, Verdict.WRONG)]
    assert [*found, reward(problem, Sample("22", finished=False), Verdict.RIGHT)] == [10.0, 0.0, -10.0]
