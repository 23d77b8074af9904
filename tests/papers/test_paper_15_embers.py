"""Paper 15, Embers of Autoregression (arXiv 2309.13638): generators that invert, and the slope on probability."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.sources.embers import NEAR, Embers, TaskName, articles_in_front, from_pig_latin, shifted
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.evaluation.metrics.probability_slope import logistic_slope
from mtjax.sampling.sampler import Sample

SOLVE = {
    "shift_cipher": lambda text: shifted(text, -13),
    "pig_latin": from_pig_latin,
    "reversal": lambda text: " ".join(text.split()[::-1]),
    "swap_articles": articles_in_front,
    "acronym": lambda text: "".join(word[0] for word in text.split()),
    "counting": lambda text: str(len(text.split())),
    "sorting": lambda text: " ".join(sorted(text.split())),
}


@pytest.mark.parametrize("task", TaskName.__args__)
def test_an_oracle_solves_every_task_in_every_tier(task):
    problems = Embers(task=task, count=30).problems().items
    for problem in problems:
        given = problem.question.rpartition("?" if task == "counting" else ":")[2].strip()
        assert SOLVE[task](given) == problem.answer
    assert {problem.source for problem in problems} == {f"{task}/{tier}" for tier in ("high", "low", "adversarial")}
    assert len({problem.question for problem in problems}) > 25


def test_tiers_share_their_words_and_differ_in_how_likely_they_are():
    high, low, adversarial = Embers(count=3).problems().items
    assert sorted(high.answer.split()) == sorted(low.answer.split())
    changed = [
        (a, b) for a, b in zip(high.answer.split(), adversarial.answer.split(), strict=True) if a != b
    ]  # fmt: skip
    assert len(changed) == 1
    assert NEAR[changed[0][0]] == changed[0][1]
    assert Embers(count=3, shift=2).problems().items[0].answer == high.answer  # another cipher, the same text
    with pytest.raises(InputError, match="tiers"):
        Embers(tiers=()).problems()


def evaluation(chance, count=400):
    """Greedy answers that are right with `chance(z)` of the standardised log-probability z of the gold answer."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=count)
    right = rng.uniform(size=count) < chance(z)
    problems = [Problem(f"p{n}", "?", "7") for n in range(count)]
    best = grade([[Sample(f"Answer: {7 if good else 8}")] for good in right], problems)
    return Evaluation([one.id for one in problems], ["7"] * count, greedy=best, prior=20 * z - 60)


def test_a_model_that_fails_on_rare_outputs_has_a_positive_slope_and_an_oracle_none():
    found = metrics(evaluation(lambda z: 1 / (1 + np.exp(-1.5 * z))), names=["probability_slope"])
    slope = found["probability_slope"]
    assert slope.low > 0
    assert slope.low < 1.5 < slope.high
    assert found["likely_gap"].low > 0.3
    assert found["accuracy_likely"].mean > found["accuracy_unlikely"].mean + 0.3
    assert metrics(evaluation(lambda z: np.ones(len(z))), names=["probability_slope"])["probability_slope"].mean == 0
    even = metrics(evaluation(lambda z: np.full(len(z), 0.5)), names=["probability_slope"])["probability_slope"]
    assert even.low < 0 < even.high


def test_the_regression_is_that_of_a_solver():
    scipy = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(1)
    x = rng.normal(size=80)
    right = (rng.uniform(size=80) < 1 / (1 + np.exp(-(0.4 + 2 * x)))).astype(float)

    def loss(values):
        z = values[0] + values[1] * (x - x.mean())
        return np.sum(np.logaddexp(0, z) - right * z) + 0.005 * values[1] ** 2

    assert logistic_slope(x[None], right[None])[0] == pytest.approx(scipy.minimize(loss, [0, 0]).x[1], abs=1e-4)
