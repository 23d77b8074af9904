"""Paper 45, ranking accuracy: that of the reference at the reference, and one turned pair costs 1 / n."""

import numpy as np

from mtjax.objectives.dpo import Dpo
from tests.objectives.fakes import batch_of, outcome


def test_sums_and_means_and_a_turned_pair():
    pairs = [([-1.0], [-3.0]), ([-4.0], [-1.0, -1.0]), ([-1.0, -1.0], [-1.5]), ([-2.0], [-5.0])]
    for number, turned in enumerate((pairs, [*pairs[:3], pairs[3][::-1]])):
        batch, policy = batch_of(*turned)
        metrics = outcome(Dpo(), policy, batch, policy).metrics
        np.testing.assert_allclose(metrics["ranking_accuracy"].value, 0.5 - number / 4)
        np.testing.assert_allclose(metrics["ranking_accuracy_per_token"].value, 0.75 - number / 4)
        assert metrics["reward_accuracy"].value == 0  # at the reference every margin is 0, whatever the ranking is
