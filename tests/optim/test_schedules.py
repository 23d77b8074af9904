"""What every registered learning-rate schedule must obey, and the standard ones by hand."""

import math

import numpy as np
import pytest

from mtjax.optim import OptimConfig, make_schedule
from mtjax.optim.schedules import SCHEDULES, Constant, Cosine, Linear
from mtjax.registry import summary

every_schedule = pytest.mark.parametrize("name", sorted(SCHEDULES))


def rates(schedule, peak=1.0, steps=20, end=0.1):
    made = schedule(peak, steps, end)
    return np.array([float(made(step)) for step in range(2 * steps)])


@every_schedule
def test_it_starts_at_the_peak_and_never_exceeds_it(name):
    values = rates(SCHEDULES[name]())
    assert values[0] == pytest.approx(1.0)
    assert (values <= 1 + 1e-6).all()
    assert (values >= 0).all()


@every_schedule
def test_it_scales_with_the_peak_and_is_constant_after_its_end(name):
    schedule = SCHEDULES[name]()
    np.testing.assert_allclose(rates(schedule, peak=0.01, end=0.001), 0.01 * rates(schedule), rtol=1e-5)
    np.testing.assert_allclose(rates(schedule)[20:], rates(schedule)[20], rtol=1e-6)


@every_schedule
def test_it_says_what_it_is_and_works_after_a_warm_up(name):
    assert summary(SCHEDULES[name])
    config = OptimConfig(learning_rate=1.0, warmup_steps=4, schedule=SCHEDULES[name]())
    made = make_schedule(config, 24)
    assert [float(made(step)) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert float(made(4)) == pytest.approx(1.0)


def test_the_standard_schedules_by_hand():
    # At step 5 of 20, from 1 to 0.1.
    assert rates(Constant())[5] == 1
    assert rates(Linear())[5] == pytest.approx(1 - 0.9 * 5 / 20)
    assert rates(Cosine())[5] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 5 / 20)) / 2)


def test_a_config_file_may_give_a_name():
    assert OptimConfig(schedule="linear").schedule == Linear()
