"""What every registered learning-rate schedule must obey, and the standard ones by hand."""

import math

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.optim import OptimConfig, describe_schedule, learning_rate_at, make_schedule
from mtjax.optim.schedules import SCHEDULES, Constant, Cosine, Linear
from mtjax.optim.schedules.infinite import Infinite
from mtjax.optim.schedules.inverse_sqrt import InverseSqrt
from mtjax.optim.schedules.refined import Refined
from mtjax.optim.schedules.wsd import WarmupStableDecay as Wsd
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


def at(schedule, steps, *where, end=0.01, warmup=10):
    config = OptimConfig(1e-3, warmup_steps=warmup, schedule=schedule, end_fraction=end)
    made = make_schedule(config, steps)
    return [float(made(step)) for step in where]


@pytest.mark.parametrize(
    ("shape", "middle", "last"),
    [("linear", 5.05e-4, 1.66e-5), ("sqrt", 2.999643e-4, 1.330552e-5), ("cosine", 5.05e-4, 1.010856e-5)],
)
def test_wsd_at_its_joints(shape, middle, last):
    """Golden values of specs/field-objectives.md 5.3: stable until step 850, end at 1,000."""
    found = at(Wsd(shape, decay_steps=150), 1000, 0, 9, 400, 849, 850, 925, 999, 1200)
    assert found == pytest.approx([1e-4, 1e-3, 1e-3, 1e-3, 1e-3, middle, last, 1e-5], rel=1e-5)


def test_a_longer_wsd_moves_its_decay_only():
    short, long = (at(Wsd(decay_steps=100), steps, *range(900)) for steps in (1000, 2000))
    assert short == long
    assert at(Wsd(share=0.1), 1010, 909, 910, 911)[1:] != [1e-3, 1e-3]
    assert at(Wsd(share=0.1), 1010, 909, 910) == pytest.approx([1e-3, 1e-3])
    assert at(Wsd(decay_steps=5000), 110, 10, 60)[1] < 1e-3  # longer than the run: it decays from the start


@pytest.mark.parametrize(
    ("shape", "early", "middle"),
    [("cosine", 2.923963e-4, 2.325e-4), ("inverse_sqrt", 2.283462e-4, 1.856295e-4), ("linear", 2.794068e-4, 2.325e-4)],
)
def test_infinite_at_its_joints(shape, early, middle):
    """Golden values of specs/losses-and-optim.md 8: cool-down to step 600, constant to 900, annealing to 1,000."""
    schedule = Infinite(cool_down=590 / 990, annealing=100 / 990, constant_fraction=0.55, shape=shape)
    made = make_schedule(OptimConfig(3e-4, warmup_steps=10, schedule=schedule, end_fraction=0.1), 1000)
    found = [float(made(step)) for step in (4, 100, 305, 600, 750, 899, 950, 1000, 2000)]
    wanted = [1.5e-4, early, middle, 1.65e-4, 1.65e-4, 1.65e-4, 7.035624e-5, 3e-5, 3e-5]
    assert found == pytest.approx(wanted, rel=2e-6)


def test_infinite_without_annealing_stays_and_ends_above_zero():
    made = Infinite(annealing=0.0)(1.0, 100, 0.0)
    assert [float(made(step)) for step in (0, 60, 100, 1000)] == pytest.approx([1.0, 0.55, 0.55, 0.55])
    assert 0 < float(Infinite()(1.0, 100, 0.0)(100)) < 1e-3
    with pytest.raises(InputError, match="expected at most 1 together"):
        Infinite(cool_down=0.8, annealing=0.3)


def test_inverse_sqrt_is_that_of_the_transformer_behind_an_equal_warm_up():
    found = at(InverseSqrt(scale=10.0), 1000, 9, 39, 99, 999, 5000)
    assert found == pytest.approx([1e-3 * math.sqrt(10 / max(step, 10)) for step in (10, 39, 99, 999, 1000)], rel=1e-5)
    assert at(InverseSqrt(), 500, *range(400)) == at(InverseSqrt(), 900, *range(400))


def test_refined_goes_through_its_points_at_any_length():
    made = Refined((0.0, 1.0, 0.5, 0.0))
    assert [float(made(2.0, 30, 0.1)(step)) for step in (0, 5, 10, 20, 25, 30, 99)] == pytest.approx(
        [0, 1, 2, 1, 0.5, 0, 0], abs=1e-6
    )
    for bad in ((1.0,), (1.0, 1.5), (0.0, -1.0)):
        with pytest.raises(InputError, match="two numbers or more, each from 0 to 1"):
            Refined(bad)


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


def test_the_learning_rate_of_an_update_is_that_of_the_schedule():
    config = OptimConfig(learning_rate=1e-2, warmup_steps=10, schedule="cosine")
    schedule, at = make_schedule(config, 3000), learning_rate_at(config, 3000)
    for number in (1, 10, 11, 1024, 1025, 3000):
        assert at(number) == pytest.approx(float(schedule(number - 1)), rel=1e-6)
