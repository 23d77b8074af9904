"""Paper 52, SaySelf: the reward is largest where the stated confidence is the chance of being right."""

import numpy as np
import pytest

from mtjax.evaluation.rewards.confidence import confidence_reward
from mtjax.mistakes.curation.confidence import confidence_of


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.5, 0.8])
def test_the_best_confidence_is_the_chance_in_a_simulation(chance):
    right = np.random.default_rng(0).random(20_000) < chance
    share = right.mean()
    gained = [share * confidence_reward(c, True) + (1 - share) * confidence_reward(c, False) for c in range(11)]
    assert int(np.argmax(gained)) == round(10 * chance)
    assert confidence_of(int(right.sum()), len(right)) == round(10 * chance)
    assert confidence_reward(10, True) == 1
    assert confidence_reward(10, False) == -1
