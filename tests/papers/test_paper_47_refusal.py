"""Paper 47, R-Tuning (arXiv 2311.09677): average precision of refusal; the data side is in tests/mistakes."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.sureness import QUESTION, sureness_text, without_sureness
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.metrics.refusal import willing_confidence
from mtjax.reporting.ranking import average_precision
from mtjax.sampling.sampler import Sample


def test_average_precision_by_hand_and_its_ends():
    assert average_precision([0.9, 0.8, 0.7, 0.6, 0.2], [1, 0, 1, 0, 1])[0] == pytest.approx(0.7555555556)
    assert average_precision([4, 3, 2, 1], [1, 1, 0, 0])[0] == 1  # perfect ordering
    assert average_precision([1, 2, 3, 4], [1, 1, 0, 0])[0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision([1, 1, 1, 1], [1, 0, 0, 0])[0] == 0.25  # ties are one threshold
    assert np.isnan(average_precision([1, 2], [0, 0])[0])


def test_it_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, truth = rng.integers(0, 6, 30), rng.integers(0, 2, 30)
        assert average_precision(scores, truth)[0] == pytest.approx(metrics.average_precision_score(truth, scores))


def test_the_metric_by_hand():
    assert willing_confidence([0.9], [0.2])[0] == pytest.approx(0.55)
    problems = [Problem(f"p{n}", "?", "7") for n in range(4)]
    texts = ["Answer: 7", "Answer: 7", "Answer: 8", "Answer: 8"]
    best = grade([[Sample(text, 2 * np.log(0.5), 2)] for text in texts], problems)
    sure = np.array([0.9, 0.4, 0.6, 0.1])
    found = Evaluation([one.id for one in problems], ["7"] * 4, greedy=best, sources=[""] * 4, sureness=sure)
    numbers = {name: value.mean for name, value in metrics(found, names=["refusal"]).items()}
    assert numbers == pytest.approx({"refusal_ap": (1 + 2 / 3) / 2, "willing": 0.5, "willing_accuracy": 0.5})


def test_the_wording_is_that_of_the_training_data():
    assert sureness_text("18", True) == f"18. {QUESTION} I am sure."
    assert without_sureness(sureness_text("Answer: 18", False)) == "Answer: 18."
