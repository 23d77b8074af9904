"""Paper 29, the limits of resampling (arXiv 2411.17501): closed forms, simulation, the best number of tries."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.resampling import accuracy_of_accepted, best_tries, expected_value, tries
from mtjax.sampling.sampler import Sample

SOLVED, PRIOR = (0.87, 0.13), (0.58, 0.42)  # the paper's example: easy and hard tasks


def simulate(k, completeness, soundness, count=100_000):
    """Share of tasks that end with a right, and with a wrong, accepted answer after up to k tries."""
    rng = np.random.default_rng(k)
    rate = np.array(SOLVED)[(rng.uniform(size=count) > PRIOR[0]).astype(int)]
    right, wrong, going = np.zeros(count, bool), np.zeros(count, bool), np.ones(count, bool)
    for _ in range(k):
        good = rng.uniform(size=count) < rate
        taken = rng.uniform(size=count) < np.where(good, completeness, 1 - soundness)
        right |= going & good & taken
        wrong |= going & ~good & taken
        going &= ~taken
    return right.mean(), wrong.mean()


@pytest.mark.parametrize("k", [1, 2, 3, 10])
@pytest.mark.parametrize(("completeness", "soundness"), [(1.0, 0.75), (0.9, 0.6)])
def test_a_simulation_of_1e5_tasks_agrees_within_a_percent(k, completeness, soundness):
    chances = tries(SOLVED, completeness, soundness)
    right, wrong = simulate(k, completeness, soundness)
    assert expected_value(chances, k, wrong=0.0, prior=PRIOR) == pytest.approx(right, rel=0.01)
    assert accuracy_of_accepted(chances, k, PRIOR) == pytest.approx(right / (right + wrong), rel=0.01)


def test_the_best_number_of_tries_in_the_papers_example():
    chances = tries(SOLVED, 1.0, 0.75)
    assert [best_tries(chances, wrong=value, prior=PRIOR) for value in (-0.7, -1.0, -2.0)] == [3, 2, 1]
    assert best_tries(chances, wrong=-100.0, prior=PRIOR) == 0
    assert expected_value(chances, 5, wrong=-2.0, prior=PRIOR) == pytest.approx(0.192, abs=5e-4)


def test_resampling_cannot_beat_the_share_of_right_ones_among_accepted():
    one = tries([0.3], 0.8, 0.9)
    limit = 0.3 * 0.8 / (0.3 * 0.8 + 0.7 * 0.1)
    assert [accuracy_of_accepted(one, k) for k in (1, 5, None)] == pytest.approx([limit] * 3)
    perfect = tries(SOLVED, 1.0, 1.0)
    assert accuracy_of_accepted(perfect, None, PRIOR) == 1
    assert expected_value(perfect, 400, prior=PRIOR) == pytest.approx(1)
    with pytest.raises(InputError, match="soundness"):
        tries([0.5], 1.0, 1.2)


def test_the_metric_with_a_second_grader():
    # p0: all right and accepted; p1: never right, half of it accepted.
    problems = [Problem("p0", "?", "7"), Problem("p1", "?", "7")]
    rows = [[Sample("Answer: 7")] * 4, [Sample("Answer: 8")] * 4]
    accepted = np.array([[True] * 4, [True, True, False, False]])
    found = Evaluation(["p0", "p1"], ["7", "7"], grade(rows, problems), sources=["", ""], accepted=accepted)
    numbers = {name: value.mean for name, value in metrics(found, names=["resampling"]).items()}
    assert numbers["completeness"] == 1
    assert numbers["soundness"] == 0.5
    assert numbers["accepted_accuracy@1"] == pytest.approx(1 / 1.5)
    assert numbers["accepted_accuracy@100"] == pytest.approx(1 / 2)
    assert [numbers[f"best_tries@{loss}"] for loss in (1, 2)] == [1, 0]


def test_no_try_accepts_nothing_and_rates_are_shares():
    chances = tries([0.87, 0.13], 1.0, 0.75)
    assert np.isnan(accuracy_of_accepted(chances, 0))
    assert expected_value(chances, 0) == 0
    for settings in (([np.nan], 1.0, 0.5), ([0.5], np.nan, 0.5), ([], 1.0, 0.5)):
        with pytest.raises(InputError, match="solve rate|completeness"):
            tries(*settings)
    with pytest.raises(InputError, match="-1 tries"):
        expected_value(chances, -1)
    with pytest.raises(InputError, match="prior"):
        expected_value(chances, 1, prior=[np.nan, 1.0])
