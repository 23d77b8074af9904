"""Paper 31, continual pre-training: the infinite schedule at its joints, re-warming, and an exact share of replay."""

import numpy as np
import pytest

from mtjax.optim import OptimConfig, make_schedule
from mtjax.optim.schedules.infinite import Infinite
from tests.data.test_mixtures import Mixture, made, words


def rates(steps, *where, **settings):
    schedule = make_schedule(OptimConfig(3e-4, warmup_steps=10, end_fraction=0.1, **settings), steps)
    return [float(schedule(step)) for step in where]


def test_the_schedules_at_their_joints():
    infinite = Infinite(cool_down=590 / 990, annealing=100 / 990, constant_fraction=0.55)
    found = rates(1000, 4, 305, 600, 899, 950, 1000, schedule=infinite)
    assert found == pytest.approx([1.5e-4, 2.325e-4, 1.65e-4, 1.65e-4, 7.035624e-5, 3e-5], rel=2e-6)
    course = np.array(rates(1000, *range(1, 1001), schedule=infinite))
    assert np.abs(np.diff(course)).max() < 4e-5  # continuous: no jump above a step of the warm-up
    assert (np.diff(course[10:]) <= 1e-12).all()
    assert rates(1000, 0, 9, 1000, schedule="cosine") == pytest.approx([3e-5, 3e-4, 3e-5])  # re-warm and re-decay


def test_the_share_of_replay_is_exact():
    batches = made(Mixture((words(400, "new"), words(300, "old")), (0.95, 0.05)))
    old = sum(name.startswith("old") for step in range(1000) for name in batches.ids_at(step))
    assert old / 8000 == pytest.approx(0.05, abs=0.0005)
