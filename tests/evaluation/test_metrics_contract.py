"""What every registered metric must obey. A new one gets these tests by its registration alone."""

import typing

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import chosen_metrics, metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import METRICS, Choice, Evaluation, Likelihood, MetricSettings, Need
from mtjax.registry import summary
from mtjax.reporting.intervals import Interval
from mtjax.sampling.sampler import Sample

every_metric = pytest.mark.parametrize("name", sorted(METRICS))
SETTINGS = MetricSettings(ks=(1, 2), seed=3)
NEEDS = typing.get_args(Need)

# Four problems of two samples; of the right answer 7, the samples give 2, 1, 0 and 0, the last one undecided.
TEXTS = [["Answer: 7", "Answer: 7"], ["Answer: 7", "Answer: 3"], ["Answer: 3", "none"], ["Answer: 3 hours", "1"]]
BEST = [["Answer: 7\nConfidence: 9"], ["Answer: 3\nConfidence: 4"], ["Answer: 7\nConfidence: 6"], ["Answer: 7"]]
DETECTION = ("error_detection", "error_probability")
"""Metrics of problems that ask whether a response has an error."""


def evaluation(order=(0, 1, 2, 3), needs=NEEDS, name=""):
    """An evaluation that holds what is needed, the problems in some order; for some metrics by name of their kind."""
    detects = name in DETECTION
    golds = [("A", "B", "B", "A")[number] if detects else "7" for number in order]
    problems = [Problem(f"p{number}", "3 + 4 =", gold) for number, gold in zip(order, golds, strict=True)]
    sources = ["task/kind#A"] * 4 if detects else [("t/closed", "t/open", "u/open", "u/closed")[n] for n in order]
    sample = lambda number, place, text: Sample(
        text, -0.1 * (number + 1), 2, finished=(number, place) != (1, 1), token_logprobs=(-0.1 * number, -0.1)
    )
    of = lambda texts: grade([[sample(n, i, text) for i, text in enumerate(texts[n])] for n in order], problems)
    at = list(order)
    nats, polarity = np.array([1.0, 2.0, 4.0, 3.0]), np.array([1, 1, 0, 1])
    parts = {
        "samples": lambda: of(TEXTS),
        "greedy": lambda: of(BEST),
        "scores": lambda: Likelihood(np.array(order), nats[at], np.full(4, 2.0), polarity[at]),
        "wrong_prefix": lambda: Evaluation([], [], of([row[::-1] for row in TEXTS[::-1]])),
        "entropies": lambda: [np.array([0.5, 0.1 * number]) for number in order],
        "perturbed": lambda: {"highest": of(TEXTS), "change": of(TEXTS)},
        "choices": lambda: [Choice(np.log([0.2 + 0.2 * n, 0.8 - 0.2 * n]), (0, 1, 1, 0)[n]) for n in order],
        "prior": lambda: -1.0 - np.array(order),
        "sureness": lambda: 0.9 - 0.2 * np.array(order),
        "accepted": lambda: np.array([[True, True], [True, False], [False, True], [False, False]])[at],
        "stages": lambda: np.array([[False] * 4, [True] * 4, [True, False] * 2, [False, True] * 2])[:, at],
        "random_scores": lambda: np.array([5.0, 5.5, 4.5, 6.0]),
    }
    ids = [problem.id for problem in problems]
    return Evaluation(ids, golds, sources=sources, **{need: parts[need]() for need in needs})


@every_metric
def test_it_says_what_it_is(name):
    cls = METRICS[name]
    assert summary(cls)
    assert set(cls.needs) <= set(NEEDS)
    assert isinstance(cls.order, int)


@every_metric
def test_it_gives_intervals_by_name_and_the_same_each_time(name):
    found = METRICS[name]()(evaluation(name=name), SETTINGS)
    assert found
    assert all(isinstance(key, str) and isinstance(value, Interval) for key, value in found.items())
    assert all(value.low <= value.mean <= value.high for value in found.values())
    assert found == METRICS[name]()(evaluation(name=name), SETTINGS)


@every_metric
def test_the_order_of_problems_does_not_change_the_means(name):
    means = lambda order: {
        key: value.mean for key, value in METRICS[name]()(evaluation(order, name=name), SETTINGS).items()
    }
    first, other = means((0, 1, 2, 3)), means((2, 0, 3, 1))
    # The second evaluation of a gap is in reverse order, so that it is not the first; tasks are learnt in order.
    if name not in ("gap", "continual"):
        assert other == pytest.approx(first)


@every_metric
def test_what_it_declares_is_enough_and_needed(name):
    metric = METRICS[name]()
    found = metric(evaluation(name=name), SETTINGS)
    assert metric(evaluation(needs=metric.needs, name=name), SETTINGS) == found
    assert metrics(evaluation(name=name), SETTINGS.ks, seed=3, names=[name]) == found
    for need in metric.needs:
        assert metrics(evaluation(needs=set(NEEDS) - {need}, name=name), (1, 2), names=[name]) == {}


def test_the_values_by_hand():
    found = {name: value.mean for name, value in metrics(evaluation(), (1, 2)).items()}
    assert found["greedy"] == 3 / 4
    assert found["pass@1"] == pytest.approx((1 + 1 / 2 + 0 + 0) / 4)
    assert found["pass@2"] == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert found["maj@2"] == pytest.approx((1 + 1 / 2 + 0 + 0) / 4)  # one vote each is a tie, broken by a fair draw
    assert found["cut"] == 1 / 8
    assert (found["nats_per_token"], found["nats_per_answer"]) == (1.0, 2.0)
    assert (found["nats_per_token_wrong"], found["nats_per_answer_wrong"]) == (2.0, 4.0)
    assert found["gap"] == 0
    sure = np.exp(-0.1 * np.arange(1, 5))
    found = {name: value.mean for name, value in metrics(evaluation(), names=["calibration"]).items()}
    assert found["confidence"] == pytest.approx(sure.mean())
    assert found["overconfidence"] == pytest.approx(sure.mean() - 3 / 4)


def test_the_vote_goes_through_the_aggregation():
    plain = metrics(evaluation(), (1, 2), names=["coverage"])
    other = metrics(evaluation(), (1, 2), names=["coverage"], aggregation="perplexity")
    assert list(other) == ["pass@1", "perplexity@1", "pass@2", "perplexity@2"]
    assert other["pass@2"] == plain["pass@2"]
    assert other["perplexity@2"].mean == plain["maj@2"].mean  # both samples of a problem are equally likely here
    with pytest.raises(InputError, match="unknown aggregation 'majorty': did you mean 'majority'"):
        metrics(evaluation(), (1, 2), names=["coverage"], aggregation="majorty")


def test_some_of_them_by_name_and_an_unknown_name():
    assert list(metrics(evaluation(), names=["greedy"])) == ["greedy"]
    assert list(chosen_metrics()) == ["greedy", "coverage", "verdicts", "likelihood", "gap"]
    with pytest.raises(InputError, match="unknown metric 'greeedy': did you mean 'greedy'"):
        chosen_metrics(["greeedy"])
