"""Paper 13, perplexity consistency (arXiv 2502.00511): its limits, and the calibration of the three ways to choose."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.metrics.calibration import row_errors
from mtjax.evaluation.metrics.consistency import credited
from mtjax.sampling.aggregation import AGGREGATIONS
from mtjax.sampling.sampler import Sample


def test_equal_probabilities_are_a_majority_vote_and_one_path_each_is_the_most_probable():
    answers, equal = ["7", "8", "7", "9"], [-5.0] * 4
    for name in ("perplexity", "rpc"):
        assert AGGREGATIONS[name](answers, equal) == pytest.approx(dict(AGGREGATIONS["majority"](answers, equal)))
    weights = AGGREGATIONS["perplexity"](["7", "8", "9"], np.log([0.1, 0.6, 0.3]).tolist())
    assert weights == pytest.approx({"7": 0.1, "8": 0.6, "9": 0.3})


def test_planted_improbable_paths_are_pruned():
    rng = np.random.default_rng(0)
    good, bad = rng.uniform(-2.2, -1.8, 12), rng.uniform(-12, -10, 20)
    answers = ["7"] * 12 + ["8"] * 20
    logs = [*good.tolist(), *bad.tolist()]
    assert AGGREGATIONS["majority"](answers, logs)["8"] > 0.5
    assert AGGREGATIONS["rpc"](answers, logs) == pytest.approx({"7": 1.0})


def test_accuracy_and_calibration_by_hand():
    problems = [Problem(f"p{n}", "?", "7") for n in range(2)]
    # Texts differ, so all paths are distinct; the right answer has the probable path in both problems.
    rows = [
        [Sample("Answer: 7", np.log(0.8)), Sample("so Answer: 8", np.log(0.1)), Sample("thus Answer: 8", np.log(0.1))],
        [Sample("Answer: 7", np.log(0.6)), Sample("so Answer: 7", np.log(0.2)), Sample("thus Answer: 8", np.log(0.2))],
    ]
    found = Evaluation(["p0", "p1"], ["7", "7"], grade(rows, problems), sources=["", ""])
    numbers = {name: value.mean for name, value in metrics(found, names=["consistency"]).items()}
    assert numbers["majority_accuracy"] == 0.5
    assert numbers["perplexity_accuracy"] == 1
    assert numbers["majority_ece"] == pytest.approx(abs((2 / 3 - 0) + (2 / 3 - 1)) / 2)  # both in the bin to 0.7
    assert numbers["perplexity_ece"] == pytest.approx(0.2)  # 0.8 and 0.8, both right
    assert credited({"7": 0.5, "8": 0.5}, {"7": True, "8": False}) == (0.5, 0.5)  # a tie shares the credit


def test_a_calibrated_confidence_has_a_small_error():
    rng = np.random.default_rng(1)
    sure = rng.uniform(0, 1, (1, 50_000))
    assert row_errors(sure, (rng.uniform(0, 1, sure.shape) < sure).astype(float))[0] < 0.01


def test_a_path_counts_once_however_often_it_is_drawn():
    perplexity = AGGREGATIONS["perplexity"]
    alone = perplexity(["3", "4"], np.log([0.2, 0.3]).tolist(), [Sample("a"), Sample("b")])
    again = perplexity(["3", "3", "4"], np.log([0.2, 0.2, 0.3]).tolist(), [Sample("a"), Sample("a"), Sample("b")])
    assert alone == pytest.approx({"3": 0.4, "4": 0.6})
    assert again == pytest.approx(alone)
