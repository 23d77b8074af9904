"""Paper 52, SaySelf (arXiv 2405.20974): the reward is a proper score, and calibration of stated confidence."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.metrics.calibration import calibration_error, reliability, row_errors
from mtjax.evaluation.metrics.stated_confidence import binned
from mtjax.evaluation.rewards.confidence import confidence_reward, stated_confidence
from mtjax.sampling.sampler import Sample


@pytest.mark.parametrize(("chance", "best"), [(0.3, 3), (0.7, 7)])
def test_the_reward_is_largest_at_the_chance_to_be_right(chance, best):
    expected = [
        chance * confidence_reward(c, True) + (1 - chance) * confidence_reward(c, False) for c in range(11)
    ]  # fmt: skip
    assert int(np.argmax(expected)) == best


def test_a_calibrated_simulator_has_an_error_below_a_percent():
    rng = np.random.default_rng(0)
    stated = rng.integers(0, 11, (1, 200_000)) / 10
    right = (rng.uniform(size=stated.shape) < stated).astype(float)
    assert binned(stated, right)[0] < 0.01
    # What the paper's code calls ECE is far from 0 for the same simulator: E |c - right| = E 2 c (1 - c) = 0.3.
    assert np.abs(stated - right).mean() == pytest.approx(0.3, abs=0.01)


def test_the_metric_by_hand():
    texts = ["Answer: 7\nConfidence: 8", "Answer: 8\nConfidence: 8", "Answer: 7\nConfidence: 3", "Answer: 7",
             "Answer: 7\nConfidence: 85"]  # fmt: skip
    problems = [Problem(f"p{n}", "?", "7") for n in range(5)]
    best = grade([[Sample(text)] for text in texts], problems)
    found = Evaluation([one.id for one in problems], ["7"] * 5, greedy=best, sources=[""] * 5)
    numbers = {name: value.mean for name, value in metrics(found, names=["stated_confidence"]).items()}
    assert numbers["states_confidence"] == 0.6  # 85 is no confidence, and none is none
    assert numbers["stated_confidence"] == pytest.approx((0.8 + 0.8 + 0.3) / 3)
    assert numbers["stated_gap"] == pytest.approx((0.2 + 0.8 + 0.7) / 3)
    assert numbers["stated_ece"] == pytest.approx((2 * abs(0.5 - 0.8) + 0.7) / 3)
    assert numbers["stated_auroc"] == 0.25  # 8 of the right one ties with the wrong one's, 3 is below it
    silent = grade([[Sample("Answer: 7")]], problems[:1])
    assert metrics(Evaluation(["p"], ["7"], greedy=silent, sources=[""]), names=["stated_confidence"]) == {}


@pytest.mark.parametrize(
    ("text", "stated"),
    [("**Confidence:** 8", 8), ("Confidence: **8**", 8), ("Confidence: 8%", None), ("Confidence: 8 %", None),
     ("Confidence: 10/10", 10), ("Confidence: 7.5", None), ("Confidence: -3", None)],
)  # fmt: skip
def test_what_states_a_confidence_from_0_to_10(text, stated):
    assert stated_confidence(text) == stated


@pytest.mark.parametrize("bins", [10, 25, 100])
def test_a_confidence_at_an_edge_is_in_the_bin_below(bins):
    edges = np.arange(1, bins + 1) / bins
    found = reliability(edges, np.ones(bins), bins)
    assert [(bin.size, bin.high) for bin in found] == [(1, edge) for edge in edges]
    assert row_errors(edges[None], np.ones((1, bins)), bins)[0] == pytest.approx(calibration_error(found))
    with pytest.raises(InputError, match="confidences from 0 to 1"):
        reliability([np.nan, 0.5], [True, False], bins)
