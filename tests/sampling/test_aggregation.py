"""The contract of every registered aggregation, and each by hand."""

import math

import pytest

from mtjax.errors import InputError
from mtjax.registry import summary
from mtjax.sampling.aggregation import AGGREGATIONS, best
from mtjax.sampling.aggregation.majority import majority
from mtjax.sampling.aggregation.perplexity import perplexity

every_aggregation = pytest.mark.parametrize("name", AGGREGATIONS)


@every_aggregation
def test_weights_sum_to_one_and_none_has_no_weight(name):
    weights = AGGREGATIONS[name](["3", None, "4", "3"], [-1.0, -0.1, -700.0, -800.0])
    assert set(weights) == {"3", "4"}
    assert sum(weights.values()) == pytest.approx(1)
    assert all(weight >= 0 for weight in weights.values())


@every_aggregation
def test_the_order_of_samples_does_not_matter(name):
    one = AGGREGATIONS[name](["3", "4", "3"], [-1.0, -2.0, -3.0])
    assert one == pytest.approx(AGGREGATIONS[name](["4", "3", "3"], [-2.0, -3.0, -1.0]))


@every_aggregation
def test_without_answers_there_are_no_weights(name):
    assert AGGREGATIONS[name]([], []) == AGGREGATIONS[name]([None], [None]) == {}
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
