"""Paper 32, Look Before You Leap (arXiv 2307.10236): the twelve measures on known distributions, and what they rank."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.metrics.base import MetricSettings
from mtjax.evaluation.metrics.uncertainty import (
    Uncertainty,
    single_inference,
    variation_from_original,
    variation_ratio,
    words_apart,
)
from mtjax.evaluation.perturbation import POINTS
from mtjax.reporting.ranking import auroc, spearman
from mtjax.sampling.sampler import Sample


def test_closed_forms_of_uniform_and_one_hot_predictions():
    ten = np.log(10)
    uniform = single_inference([-ten] * 3, np.array([ten] * 3))
    assert uniform == pytest.approx((ten, ten, ten, ten))
    assert single_inference([0.0] * 3, np.zeros(3)) == (0, 0, 0, 0)
    assert single_inference([-1.0, -3.0], np.array([0.5, 0.1])) == pytest.approx((3, 2, 0.5, 0.3))
    # n equal samples do not vary, n different ones vary as much as can be.
    assert (variation_ratio(["7"] * 4), variation_ratio(["1", "2", "3"])) == (0, 1)
    assert variation_ratio(["7", "7", "8", "8"]) == pytest.approx(4 / 6)
    assert variation_from_original(["7", "8", None, "7"], "7") == 0.5
    assert variation_ratio(["a b", "a c"], words_apart) == pytest.approx(0.5)


def test_the_token_that_is_drawn_anew():
    entropy = np.array([0.2, 0.1, 1.5, 1.4, 0.0])
    assert {name: point(entropy) for name, point in POINTS.items()} == {"highest": 2, "lowest": 4, "change": 2}
    assert POINTS["change"](np.array([0.3])) == 0


def test_noise_ranks_nothing_and_a_perfect_score_everything():
    rng = np.random.default_rng(0)
    wrong = rng.uniform(size=20_000) < 0.4
    assert auroc(rng.uniform(size=len(wrong)), wrong)[0] == pytest.approx(0.5, abs=0.02)
    assert auroc(wrong + rng.uniform(0, 0.9, len(wrong)), wrong)[0] == 1
    assert auroc(np.zeros(len(wrong)), wrong)[0] == 0.5
    assert np.isnan(auroc([1.0, 2.0], [True, True])[0])
    assert spearman([1, 2, 3], [3, 2, 1])[0] == -1


def evaluation(share_wrong, planted):
    """Greedy answers of which some are wrong, uncertain by chance or (planted) exactly where they are wrong."""
    rng = np.random.default_rng(3)
    wrong = np.arange(60) < share_wrong * 60
    problems = [Problem(f"p{n}", "?", "7") for n in range(60)]
    doubt = np.where(wrong, 2.0, 0.1) if planted else rng.uniform(0, 2, 60)
    best, drawn = [], []
    for bad, level in zip(wrong, doubt, strict=True):
        text = f"Answer: {8 if bad else 7}"
        best.append([Sample(text, -level, 2, token_logprobs=(-level, -level / 2))])
        others = ["7", "8", "9", "6"] if level > 1 else [text[-1]] * 4
        drawn.append([Sample(f"Answer: {one}") for one in others])
    golds = ["7"] * 60
    parts = {"samples": grade(drawn, problems), "greedy": grade(best, problems)}
    parts["perturbed"] = dict.fromkeys(POINTS, parts["samples"])
    entropies = [np.array([level, level / 3]) for level in doubt]
    return Evaluation([one.id for one in problems], golds, sources=[""] * 60, entropies=entropies, **parts)


def test_all_twelve_measures_find_planted_uncertainty_and_none_finds_noise():
    numbers = metrics(evaluation(0.5, True), names=["uncertainty", "perturbation"])
    assert len(numbers) == 24
    assert {value.mean for name, value in numbers.items() if name.endswith("auroc")} == {1}
    assert all(value.mean > 0.85 for value in numbers.values())
    noise = metrics(evaluation(0.5, False), names=["uncertainty"])
    assert all(value.low < 0.5 < value.high for name, value in noise.items() if name.endswith("auroc"))
    assert all(value.low < 0 < value.high for name, value in noise.items() if name.endswith("spearman"))


def test_nothing_can_be_ranked_where_all_answers_are_right():
    assert metrics(evaluation(0, True), names=["uncertainty"]) == {}


def test_free_text_is_compared_by_words():
    found = Uncertainty(distance="words")(evaluation(0.5, True), MetricSettings())
    assert found["vr_auroc"].mean == 1
