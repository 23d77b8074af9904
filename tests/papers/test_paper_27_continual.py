"""Paper 27, continual learning of language models (arXiv 2404.16789): the matrix of scores and its numbers."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.metrics.continual import learnt
from mtjax.sampling.sampler import Sample

MATRIX = np.array([[0.9, 0.3, 0.2], [0.7, 0.8, 0.4], [0.6, 0.7, 0.85]])


def test_the_golden_matrix():
    found = learnt(MATRIX, np.array([0.1, 0.2, 0.15]))
    assert tuple(map(float, found)) == pytest.approx((0.716667, -0.2, 0.2, 0.175), abs=1e-6)
    assert np.isnan(learnt(MATRIX).forward_transfer)
    # GEM's code divides by all tasks, the last one included, which did not change.
    assert float(found.backward_transfer) * 2 / 3 == pytest.approx(-0.133333, abs=1e-6)
    with pytest.raises(InputError, match="at least two tasks"):
        learnt(MATRIX[:, :2])


def evaluation(stages, last, sources):
    problems = [Problem(f"p{n}", "?", "7") for n in range(len(last))]
    best = grade([[Sample(f"Answer: {7 if good else 8}")] for good in last], problems)
    ids = [one.id for one in problems]
    return Evaluation(ids, ["7"] * len(ids), greedy=best, sources=sources, stages=np.array(stages, bool))


def test_the_metric_from_the_answers_of_stages():
    sources = ["add"] * 10 + ["sort"] * 10
    score = lambda first, second: [n < first for n in range(10)] + [n < second for n in range(10)]
    stages = [score(1, 2), score(9, 4)]  # before any task, and after `add`
    found = metrics(evaluation(stages, score(6, 8), sources), names=["continual"])
    means = {name: value.mean for name, value in found.items()}
    assert means == pytest.approx(
        {"continual_accuracy": 0.7, "backward_transfer": -0.3, "forgetting": 0.3, "forward_transfer": 0.2}
    )
    assert all(value.low < value.mean < value.high for value in found.values())
    without_start = metrics(evaluation(stages[1:], score(6, 8), sources), names=["continual"])
    assert set(without_start) == {"continual_accuracy", "backward_transfer", "forgetting"}


def test_another_number_of_models_is_refused():
    with pytest.raises(InputError, match="found 2 tasks .*'add', 'sort'.* and 3 earlier models"):
        metrics(evaluation([[True, True]] * 3, [True, True], ["add", "sort"]), names=["continual"])
