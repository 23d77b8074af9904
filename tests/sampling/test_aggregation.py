"""The contract of every registered aggregation, and each by hand."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.errors import InputError
from mtjax.registry import summary
from mtjax.sampling.aggregation import AGGREGATIONS, best
from mtjax.sampling.aggregation.best_by_verifier import best_by_verifier
from mtjax.sampling.aggregation.best_of_n import best_of_n
from mtjax.sampling.aggregation.confidence import confidence
from mtjax.sampling.aggregation.majority import majority
from mtjax.sampling.aggregation.perplexity import perplexity
from mtjax.sampling.aggregation.rpc import kept_paths, rpc, weibull_log_density
from mtjax.sampling.aggregation.verifier import verifier
from mtjax.sampling.sampler import Sample

every_aggregation = pytest.mark.parametrize("name", AGGREGATIONS)


class Valued(NamedTuple):
    """A sample with the value of a verifier."""

    value: float
    text: str = ""


def weigh(name, answers, log_probs):
    """The weights, with a value for each sample where a verifier is needed."""
    if not getattr(AGGREGATIONS[name], "needs_value", False):
        return AGGREGATIONS[name](answers, log_probs)
    return AGGREGATIONS[name](answers, log_probs, [Valued(log / 1000) for log in log_probs])


@every_aggregation
def test_weights_sum_to_one_and_none_has_no_weight(name):
    weights = weigh(name, ["3", None, "4", "3"], [-1.0, -0.1, -700.0, -800.0])
    assert set(weights) <= {"3", "4"}
    assert "3" in weights
    assert sum(weights.values()) == pytest.approx(1)
    assert all(weight >= 0 for weight in weights.values())


@every_aggregation
def test_the_order_of_samples_does_not_matter(name):
    one = weigh(name, ["3", "4", "3"], [-1.0, -2.0, -3.0])
    assert one == pytest.approx(weigh(name, ["4", "3", "3"], [-2.0, -3.0, -1.0]))


@every_aggregation
def test_without_answers_there_are_no_weights(name):
    assert weigh(name, [], []) == weigh(name, [None], [-1.0]) == {}
    assert best({}) is None


@every_aggregation
def test_an_aggregation_is_documented(name):
    assert summary(AGGREGATIONS[name]).endswith(".")


def test_by_hand():
    answers, log_probs = ["3", "3", "4"], [math.log(0.1), math.log(0.2), math.log(0.5)]
    assert majority(answers, log_probs) == {"3": 2 / 3, "4": 1 / 3}
    assert best(majority(answers, log_probs)) == "3"
    weights = perplexity(answers, log_probs)
    assert weights == pytest.approx({"3": 0.3 / 0.8, "4": 0.5 / 0.8})
    assert best(weights) == "4"
    with pytest.raises(InputError, match="has no log-probability"):
        perplexity(["3"], [None])


def test_confidence_by_hand():
    """Means of -1 and -2 for "3", -0.5 for "4": e^-1 + e^-2 = 0.503 against 0.607; without lengths e^-0.5 wins too."""
    samples = [Sample("a", -4.0, 4), Sample("b", -4.0, 2), Sample("c", -0.5, 1)]
    weights = confidence(["3", "3", "4"], [-4.0, -4.0, -0.5], samples)
    total = math.exp(-1) + math.exp(-2) + math.exp(-0.5)
    assert weights == pytest.approx({"3": (math.exp(-1) + math.exp(-2)) / total, "4": math.exp(-0.5) / total})
    alike = confidence(["3", "3", "4"], [-4.0, -4.0, -2.0], [Sample("a", -4.0, 4)] * 2 + [Sample("c", -2.0, 2)])
    assert alike == pytest.approx(majority(["3", "3", "4"], []))


def test_best_of_n_by_hand():
    """Means of -1, -0.5, -0.5: two samples share the weight, whatever their lengths."""
    samples = [Sample("a", -1.0, 1), Sample("b", -2.0, 4), Sample("c", -1.0, 2)]
    assert best_of_n(["3", "4", "5"], [-1.0, -2.0, -1.0], samples) == {"4": 0.5, "5": 0.5}
    assert best_of_n(["3", "4", "5"], [-1.0, -2.0, -0.9]) == {"5": 1.0}


def test_solutions_are_told_apart_by_their_texts():
    """The first was drawn twice: with the texts it counts once, 0.2 against 0.3; without them it counts twice."""
    answers, logs = ["3", "3", "4"], [math.log(0.2), math.log(0.2), math.log(0.3)]
    samples = [Sample("x"), Sample("x"), Sample("y")]
    assert perplexity(answers, logs, samples) == pytest.approx({"3": 0.4, "4": 0.6})
    assert perplexity(answers, logs) == pytest.approx({"3": 4 / 7, "4": 3 / 7})


@given(st.lists(st.sampled_from(["3", "4", "5", None]), max_size=12))
def test_with_equal_probabilities_rpc_is_a_majority_vote(answers):
    logs = [-37.0] * len(answers)
    assert rpc(answers, logs) == pytest.approx(majority(answers, logs))


def test_rpc_prunes_improbable_solutions():
    """Eight solutions near 0.3 and four near 0.01: the four go, and with them an answer that many of them give."""
    probabilities = np.array([0.30, 0.31, 0.29, 0.33, 0.28, 0.32, 0.30, 0.27, 0.010, 0.012, 0.011, 0.009])
    assert kept_paths(np.log(probabilities)).tolist() == [True] * 8 + [False] * 4
    assert kept_paths(np.log(probabilities) - 300).tolist() == [True] * 8 + [False] * 4  # only ratios count
    weights = rpc(["3"] * 4 + ["4"] * 4 + ["5"] * 4, np.log(probabilities).tolist())
    assert set(weights) == {"3", "4"}
    assert weights["3"] == pytest.approx(1.23 / 2.40)


def test_rpc_never_prunes_everything_nor_few():
    assert kept_paths(np.log([0.9, 0.001, 0.001])).all()
    assert kept_paths(np.full(9, -20.0)).all()
    rng = np.random.default_rng(0)
    for _ in range(20):
        logs = rng.normal(-50, 20, 10)
        assert kept_paths(logs)[np.argmax(logs)]


def test_the_density_of_a_weibull_distribution():
    """Shape 1.5, scale 2, at 1: 0.372391688; with shape 1 it is exponential."""
    assert np.exp(weibull_log_density(np.array([1.0]), 1.5, 2.0))[0] == pytest.approx(0.372391688, abs=1e-9)
    x = np.array([0.1, 1.0, 3.0])
    np.testing.assert_allclose(np.exp(weibull_log_density(x, 1.0, 2.0)), np.exp(-x / 2) / 2)


@pytest.mark.parametrize("name", ["perplexity", "rpc", "confidence", "best_of_n"])
def test_a_log_probability_that_is_needed_and_unknown_is_named(name):
    with pytest.raises(InputError, match="use the aggregation majority instead"):
        AGGREGATIONS[name](["3"], [None])


def test_by_verifier_by_hand():
    """Probabilities of being right .9, .2, .6, .6: "3" has .9, "4" has .8 and the last sample no answer."""
    samples = [Valued(0.8), Valued(-0.6), Valued(0.2), Valued(0.2)]
    answers = ["3", "4", "4", None]
    assert verifier(answers, [None] * 4, samples) == pytest.approx({"3": 0.9 / 1.7, "4": 0.8 / 1.7})
    assert best_by_verifier(answers, [None] * 4, samples) == {"3": 1.0}
    equal = [Valued(0.3)] * 4
    assert verifier(answers, [None] * 4, equal) == pytest.approx({"3": 1 / 3, "4": 2 / 3})  # the majority vote
    assert best_by_verifier(answers, [None] * 4, equal) == pytest.approx({"3": 1 / 3, "4": 2 / 3})
    assert verifier(["3", "4"], [None] * 2, [Valued(-1.0)] * 2) == {"3": 0.5, "4": 0.5}  # all are surely wrong
    for aggregation in (verifier, best_by_verifier):
        with pytest.raises(InputError, match="no value by a verifier"):
            aggregation(["3"], [-1.0], [Sample("3")])
        with pytest.raises(InputError, match="no value by a verifier"):
            aggregation(["3"], [-1.0])
