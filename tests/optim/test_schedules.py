"""What every registered learning-rate schedule must obey, and the standard ones by hand."""

import math

import numpy as np
import pytest

from mtjax.optim import OptimConfig, describe_schedule, make_schedule
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


def said(steps, first=1, **settings):
    return describe_schedule(OptimConfig(learning_rate=1e-3, **settings), steps, first)


def test_the_rates_at_first_peak_and_last_step_are_said():
    assert said(100, schedule="linear", warmup_steps=10) == [
        "0.0001 at step 1, 0.001 at step 10 (peak), 0.00011 at step 100; linear after 10 steps of warm-up"
    ]
    assert said(100, schedule="constant") == ["0.001 at step 1, 0.001 at step 1 (peak), 0.001 at step 100; constant"]
    assert said(1)[1:] == []
    assert said(100, first=51, schedule="linear", end_fraction=0.0)[0].startswith("0.0005 at step 51, ")
    # The rate of the last update, not of the one that would follow.
    assert "0.00051 at step 50;" in said(50, schedule="linear", schedule_steps=100, end_fraction=0.0)[0]


@pytest.mark.parametrize(
    ("steps", "settings", "says"),
    [
        (60, {"warmup_steps": 100}, "longer than the run of 60, so the rate only reaches 60% of optim.learning_rate"),
        (60, {"warmup_steps": 60}, "takes the whole run, so the schedule never begins"),
        (60, {"schedule_steps": 40}, "ends at step 40, so 20 of 60 steps train at 0.0001:"),
        (60, {"schedule_steps": 40, "end_fraction": 0.0}, "20 of 60 steps train at 0, which changes nothing"),
        (60, {"schedule_steps": 90}, "the schedule ends at step 90, after the run"),
        (60, {"schedule_steps": 20, "warmup_steps": 30}, "leaves no step to the schedule, which ends at step 20"),
        (60, {"schedule_steps": 40, "schedule": "constant"}, ""),
        (60, {"schedule_steps": 90, "schedule": "constant"}, ""),
        (60, {"warmup_steps": 10}, ""),
    ],
)
def test_a_schedule_that_does_not_fit_the_run_is_said(steps, settings, says):
    notes = said(steps, **settings)[1:]
    assert says in " ".join(notes)
    assert bool(notes) == bool(says)


def test_a_config_file_may_give_a_name():
    assert OptimConfig(schedule="linear").schedule == Linear()
