"""Paper 12, are LLMs better than reported: a panel of judges finds planted label errors; flipping them helps."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.judges import Judges, panel
from mtjax.mistakes.checks.labels import cross_fitted
from mtjax.runs.audit_data import AuditData, control_flags, repaired


class Given:
    """A source of problems that are there."""

    def __init__(self, problems):
        self.items = problems

    def problems(self, on_error="raise"):
        return self


def data(size=2000, flipped=0.15, accuracy=0.9, judges=4, seed=0):
    """Right and wrong texts of which a share has the other label, and independent judges of a known accuracy."""
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < 0.5
    given = truth ^ (rng.random(size) < flipped)
    problems = [
        Problem(f"p{n}", f"q{n}", "1", right=("t",) if label else (), wrong=() if label else ("t",))
        for n, label in enumerate(given)
    ]
    votes = truth[None, :] ^ (rng.random((judges, size)) >= accuracy)
    judged = [[{"right": float(v), "wrong": float(not v)} for v in votes[:, n]] for n in range(size)]
    return problems, truth, given, judged


def test_the_mean_over_judges_is_of_normalised_probabilities():
    p = panel([[{"right": 0.2, "wrong": 0.2}, {"right": 0.9, "wrong": 0.1}], []], ["right", "wrong"])
    np.testing.assert_allclose(p[0], [0.7, 0.3])
    assert np.isnan(p[1]).all()


def test_flags_have_the_precision_that_follows_from_the_accuracy_of_the_judges():
    problems, truth, given, judged = data()
    subject = Subject(lambda: iter(problems), judgements=lambda items: [judged[item.number] for item in items])
    found = Judges(confidence=0.95)(subject)  # all four judges against the label
    wrong = given != truth
    # P(label wrong | all four disagree) = .15 .9^4 / (.15 .9^4 + .85 .1^4)
    expected = 0.15 * 0.9**4 / (0.15 * 0.9**4 + 0.85 * 0.1**4)
    hits = [wrong[flag.number] for flag in found.flags]
    assert np.mean(hits) == pytest.approx(expected, abs=0.01)
    assert len(hits) / len(problems) == pytest.approx(0.15 * 0.9**4 + 0.85 * 0.1**4, abs=0.02)
    # Three of four and more: the flags of p > .7; 4 of 4 or 3 of 4.
    some = Judges(confidence=0.7)(subject).flags
    at_least = lambda p: p**4 + 4 * p**3 * (1 - p)
    expected = 0.15 * at_least(0.9) / (0.15 * at_least(0.9) + 0.85 * at_least(0.1))
    assert np.mean([wrong[flag.number] for flag in some]) == pytest.approx(expected, abs=0.03)


def test_training_after_a_flip_beats_training_as_given_and_a_random_flip_of_the_same_size():
    problems, truth, given, judged = data(size=900, flipped=0.3, seed=3)
    subject = Subject(lambda: iter(problems), judgements=lambda items: [judged[item.number] for item in items])
    flags = Judges(confidence=0.9)(subject).flags
    drawn = control_flags(AuditData(Given(problems)), flags, seed=0)
    assert len(drawn) == len(flags)
    assert {flag.fix for flag in drawn} == {"flip"}

    rng = np.random.default_rng(4)
    features = rng.normal(0, 1.0, (900, 40)) + 0.35 * np.where(truth, 1, -1)[:, None]

    def accuracy(flags):
        by_number = {flag.number: flag for flag in flags}
        made = [repaired(p, [by_number[n]] if n in by_number else [], "flip") for n, p in enumerate(problems)]
        labels = np.array([int(bool(problem.right)) for problem in made])
        fold = np.arange(900) % 3
        p = cross_fitted(features, labels, fold, 2)  # tested on the true labels of the other folds
        return float((p.argmax(axis=1) == truth).mean())

    as_given, flipped, control = accuracy([]), accuracy(flags), accuracy(drawn)
    assert flipped > as_given + 0.03
    assert flipped > control + 0.03


def test_filter_leaves_out_and_flip_moves_to_the_other_side():
    problem = Problem("p", "q", "1", ("a", "b"), ("c",))
    subject = Subject(
        lambda: iter([problem]),
        judgements=lambda items: [[{"right": 0.0, "wrong": 1.0}] if item.text != "c" else [] for item in items],
    )
    flags = Judges()(subject).flags
    assert [flag.part for flag in flags] == ["right/0", "right/1"]
    assert repaired(problem, flags, "filter") == Problem("p", "q", "1", (), ("c",))
    assert repaired(problem, flags, "flip") == Problem("p", "q", "1", (), ("a", "b", "c"))
    assert repaired(problem, flags, "none") is problem
