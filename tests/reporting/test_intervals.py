"""Bootstrap intervals: tiny cases by hand, large ones against the normal approximation, same seed same numbers."""

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.reporting import intervals
from mtjax.reporting.intervals import difference_interval, mean_interval, ratio_interval


def test_two_problems_by_hand():
    # Means of two draws from {0, 1}: 0 with 1/4, 1/2 with 1/2, 1 with 1/4. So .1/.9 are the ends, .3/.7 the middle.
    assert mean_interval([0.0, 1.0], level=0.8)[:3] == (0.5, 0.0, 1.0)
    assert mean_interval([0.0, 1.0], level=0.4)[:3] == (0.5, 0.5, 0.5)


def test_a_constant_has_no_width():
    assert mean_interval([0.25] * 7)[:3] == (0.25, 0.25, 0.25)
    assert mean_interval([0.25])[:3] == (0.25, 0.25, 0.25)


def test_many_problems_agree_with_the_normal_approximation():
    values = (np.random.default_rng(0).random(2_000) < 0.3).astype(float)
    interval = mean_interval(values, seed=1)
    half = 1.959964 * values.std() / np.sqrt(values.size)  # 0.020
    assert interval.low == pytest.approx(values.mean() - half, abs=1e-3)
    assert interval.high == pytest.approx(values.mean() + half, abs=1e-3)


def test_ratio_agrees_with_the_delta_method():
    rng = np.random.default_rng(3)
    counts = rng.integers(5, 30, 1_500).astype(float)
    totals = counts * rng.normal(2, 0.5, counts.size)
    ratio = totals.sum() / counts.sum()
    half = 1.959964 * (totals - ratio * counts).std() / (counts.mean() * np.sqrt(counts.size))
    interval = ratio_interval(totals, counts)
    assert interval.mean == pytest.approx(ratio)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)


def test_a_draw_without_counts_is_left_out():
    interval = ratio_interval([1.0, 0.0], [1.0, 0.0])
    assert interval[:3] == (1.0, 1.0, 1.0)


def test_pairing_removes_what_both_arms_share():
    rng = np.random.default_rng(5)
    hard = rng.random(400)
    ours, theirs = hard + 0.05 + 0.01 * rng.normal(size=400), hard
    paired = difference_interval(ours, theirs)
    assert paired.low > 0.045
    assert paired.high < 0.055
    alone = mean_interval(ours)
    assert alone.high - alone.low > 10 * (paired.high - paired.low)
    mirrored = difference_interval(theirs, ours)
    assert mirrored.low == pytest.approx(-paired.high, abs=1e-4)


def test_seeds_are_averaged_first():
    arms = np.random.default_rng(2).random((3, 50))
    assert mean_interval(arms) == mean_interval(arms.mean(axis=0))
    assert difference_interval(arms, arms[0]) == mean_interval(arms.mean(axis=0) - arms[0])


def test_same_seed_same_numbers_in_any_block_size(monkeypatch):
    values = np.random.default_rng(2).random(100)
    whole = mean_interval(values, seed=4)
    assert whole == mean_interval(values, seed=4)
    assert whole != mean_interval(values, seed=5)
    monkeypatch.setattr(intervals, "BLOCK", 30_000)
    assert whole == mean_interval(values, seed=4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mean_interval([]), "shape"),
        (lambda: mean_interval([1.0, float("nan")]), "not finite"),
        (lambda: mean_interval([1.0], level=95.0), "level=95"),
        (lambda: mean_interval([1.0], resamples=0), "resamples=0"),
        (lambda: ratio_interval([1.0], [0.0]), "not all 0"),
        (lambda: ratio_interval([1.0], [1.0, 2.0]), "lengths 1 and 2"),
        (lambda: difference_interval([1.0], [1.0, 2.0]), "same problems"),
    ],
)
def test_refuses(call, said):
    with pytest.raises(InputError, match=said):
        call()
