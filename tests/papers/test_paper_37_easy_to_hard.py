"""Paper 37, easy data for hard tasks: hardness measures, stable splits, supervision gap recovered."""

import math

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.selection.hardness import MEASURES, Hardness, easy_and_hard
from mtjax.errors import InputError
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.hardness import Hardness as HardnessCheck
from mtjax.mistakes.checks.hardness import model_hardness, supervision_gap_recovered


def test_the_supervision_gap_recovered_ends_at_0_and_1():
    assert supervision_gap_recovered(0.4, 0.8, 0.4) == 0
    assert supervision_gap_recovered(0.8, 0.8, 0.4) == 1
    assert supervision_gap_recovered(0.7, 0.8, 0.4) == 0.75
    assert math.isnan(supervision_gap_recovered(0.5, 0.4, 0.4))


def test_the_split_is_disjoint_and_the_same_in_any_order():
    values = np.random.default_rng(0).permutation(np.arange(100.0))
    easy, hard = easy_and_hard(values)
    assert sorted(values[easy]) == list(range(30))
    assert sorted(values[hard]) == list(range(70, 100))
    order = np.random.default_rng(1).permutation(100)
    again = easy_and_hard(values[order])
    np.testing.assert_array_equal(easy[order], again[0])
    np.testing.assert_array_equal(hard[order], again[1])
    assert not any(side.any() for side in easy_and_hard(np.array([2.0, 2.0, 2.0])))  # nothing is easier than the rest
    with_gaps = easy_and_hard(np.array([1.0, math.nan, 3.0]))
    assert [side.tolist() for side in with_gaps] == [[True, False, False], [False, False, True]]


def test_the_measures_by_hand():
    problem = Problem("p", "How many are left?", "42", ("a b\n\nc d e\n#### 42",), success_rate=0.25, difficulty=3.0)
    assert {name: measure(problem) for name, measure in MEASURES.items()} == {
        "question_words": 4, "answer_characters": 2, "solution_words": 7, "solution_lines": 3, "difficulty": 3.0,
        "failure_rate": 0.75,
    }  # fmt: skip
    assert MEASURES["solution_lines"](Problem("p", "q", right=("x\n" * 30,))) == 10


def test_the_model_finds_noise_the_hardest():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 300)
    features = rng.normal(0, 1, (300, 6)) + 1.5 * np.where(true == 1, 1, -1)[:, None]
    noisy = rng.random(300) < 0.1
    labels = true ^ noisy
    hard = model_hardness(features, labels, (10, 40), 10, seed=0)
    assert hard[noisy].min() > np.quantile(hard[~noisy], 0.95)
    np.testing.assert_array_equal(hard, model_hardness(features, labels, (10, 40), 10, seed=0))


def test_the_selection_keeps_one_side_and_the_check_gives_its_limits():
    problems = [Problem(f"p{n}", "q " * (n + 1), "1", ("x\n" * (n % 10 + 1),)) for n in range(20)]
    easy = Hardness("solution_lines", 4.0)(problems, 0).items
    hard = Hardness("solution_lines", 7.0, "hard")(problems, 0).items
    assert {MEASURES["solution_lines"](p) for p in easy} == {1, 2, 3, 4}
    assert {MEASURES["solution_lines"](p) for p in hard} == {7, 8, 9, 10}
    with pytest.raises(InputError, match="no problem has a number for hardness.by='difficulty'"):
        Hardness("difficulty", 1.0)(problems, 0)
    found = HardnessCheck()(Subject(lambda: iter(problems)))
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows["question_words"] == [10.5, 6.0, 15.0, 6, 6]
    assert found.records[4]["solution_lines"] == 5
