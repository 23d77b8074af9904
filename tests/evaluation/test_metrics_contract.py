"""What every registered metric must obey. A new one gets these tests by its registration alone."""

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.evaluation.evaluator import chosen_metrics, metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import METRICS, Evaluation, MetricSettings
from mtjax.registry import summary
from mtjax.reporting.intervals import Interval

every_metric = pytest.mark.parametrize("name", sorted(METRICS))
SETTINGS = MetricSettings(ks=(1, 2), seed=3)


def evaluation(order=(0, 1, 2, 3), greedy=True):
    """Four problems of two samples; of the right answer 7, the samples give 2, 1, 0 and 0, the last one undecided."""
    texts = [["Answer: 7", "Answer: 7"], ["Answer: 7", "Answer: 3"], ["Answer: 3", "none"], ["Answer: 3 hours", "1"]]
    finished = np.array([[True, True], [True, False], [True, True], [True, True]])
    best = [["Answer: 7"], ["Answer: 3"], ["Answer: 7"], ["Answer: 7"]]
    pick = lambda rows: [rows[number] for number in order]
    ids = [f"p{number}" for number in order]
    golds = ["7"] * len(order)
    graded = grade(pick(best), golds) if greedy else None
    return Evaluation(ids, golds, grade(pick(texts), golds), finished[list(order)], graded)


@every_metric
def test_it_says_what_it_is(name):
    cls = METRICS[name]
    assert summary(cls)
    assert isinstance(cls.needs_greedy, bool)
    assert isinstance(cls.order, int)


@every_metric
def test_it_gives_intervals_by_name_and_the_same_each_time(name):
    found = METRICS[name]()(evaluation(), SETTINGS)
    assert found
    assert all(isinstance(key, str) and isinstance(value, Interval) for key, value in found.items())
    assert all(value.low <= value.mean <= value.high for value in found.values())
    assert found == METRICS[name]()(evaluation(), SETTINGS)


@every_metric
def test_the_order_of_problems_does_not_change_the_means(name):
    first = METRICS[name]()(evaluation(), SETTINGS)
    other = METRICS[name]()(evaluation((2, 0, 3, 1)), SETTINGS)
    assert {key: value.mean for key, value in other.items()} == pytest.approx(
        {key: value.mean for key, value in first.items()}
    )


@every_metric
def test_what_it_declares_is_enough(name):
    metric = METRICS[name]()
    without = metric(evaluation(greedy=False), SETTINGS)
    assert without == ({} if metric.needs_greedy else metric(evaluation(), SETTINGS))


def test_the_values_by_hand():
    found = {name: value.mean for name, value in metrics(evaluation(), (1, 2)).items()}
    assert found["greedy"] == 3 / 4
    assert found["pass@1"] == pytest.approx((1 + 1 / 2 + 0 + 0) / 4)
    assert found["pass@2"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert found["maj@2"] == pytest.approx((1 + 1 / 2 + 0 + 0) / 4)  # one vote each is a tie, broken by a fair draw
    assert found["cut"] == 1 / 8


def test_some_of_them_by_name_and_an_unknown_name():
    assert list(metrics(evaluation(), names=["greedy"])) == ["greedy"]
    assert [type(metric) for metric in chosen_metrics()] == [METRICS[n] for n in ("greedy", "coverage", "verdicts")]
    with pytest.raises(InputError, match="unknown metric 'greeedy': did you mean 'greedy'"):
        chosen_metrics(["greeedy"])
