"""Paper 23, pervasive label errors: confident learning finds planted flips, and estimates how many there are."""

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.confident import confident_joint, label_errors, margins
from mtjax.mistakes.checks.labels import Labels

P0 = np.array([0.9, 0.8, 0.3, 0.2, 0.4, 0.85])
P, GIVEN = np.stack([P0, 1 - P0], axis=1), np.array([0, 0, 0, 1, 1, 1])


def test_the_example_that_cleanlab_agrees_with():
    # t0 = (.9 + .8 + .3) / 3, t1 = (.8 + .6 + .15) / 3
    found = confident_joint(GIVEN, P)
    np.testing.assert_allclose(found.thresholds, [2 / 3, 1.55 / 3], atol=1e-12)
    np.testing.assert_array_equal(found.counts, [[2, 1], [1, 2]])
    np.testing.assert_allclose(found.joint, [[1 / 3, 1 / 6], [1 / 6, 1 / 3]], atol=1e-12)
    assert found.noise == pytest.approx(1 / 3)
    np.testing.assert_allclose(margins(GIVEN, P), [0.8, 0.6, -0.4, 0.6, 0.2, -0.7], atol=1e-12)
    for prune in ("by_noise_rate", "by_class", "both", "confident"):
        assert label_errors(GIVEN, P, prune).nonzero()[0].tolist() == [2, 5], prune


def test_a_class_without_examples_is_never_reached_and_a_class_keeps_one():
    found = confident_joint(np.array([0, 0]), np.array([[0.2, 0.8], [0.1, 0.9]]))
    assert found.thresholds[1] > 1
    assert found.counts.tolist() == [[1, 0], [0, 1]]  # .1 is below t0 = .15; the diagonal is at least 1
    for prune in ("by_noise_rate", "by_class", "both", "confident"):
        p = np.array([[0.1, 0.9], [0.1, 0.9], [0.0, 1.0], [0.05, 0.95]])
        assert not label_errors(np.array([0, 1, 1, 1]), p, prune)[0], prune


def planted(size=3000, seed=0):
    """Three classes with probabilities of a model, and 10 % of labels flipped, by class in different ways."""
    rng = np.random.default_rng(seed)
    flips = np.array([[0.90, 0.08, 0.02], [0.02, 0.88, 0.10], [0.05, 0.03, 0.92]])
    true = rng.integers(0, 3, size)
    given = np.array([rng.choice(3, p=flips[k]) for k in true])
    logits = rng.normal(0, 0.6, (size, 3))
    logits[np.arange(size), true] += 5.0
    p = np.exp(logits)
    joint = np.zeros((3, 3))
    np.add.at(joint, (given, true), 1 / size)
    return given, true, p / p.sum(axis=1, keepdims=True), joint


def test_ten_per_cent_of_flips_by_class():
    given, true, p, joint = planted()
    assert 0.08 < (given != true).mean() < 0.12
    found = confident_joint(given, p)
    assert np.abs(found.joint - joint).max() < 0.02
    for prune in ("by_noise_rate", "both", "confident"):
        flagged = label_errors(given, p, prune)
        assert (given != true)[flagged].mean() > 0.9, prune
        assert flagged[given != true].mean() > 0.8, prune


def test_the_check_finds_flipped_answers_of_text_data():
    rng = np.random.default_rng(1)
    words = {"sport": ["ball", "goal", "team"], "food": ["soup", "bread", "salt"]}
    problems, wrong = [], set()
    for n in range(400):
        label = ("sport", "food")[n % 2]
        text = " ".join(rng.choice(words[label], 6))
        if n % 10 == 3:
            wrong.add(n)
            label = {"sport": "food", "food": "sport"}[label]
        problems.append(Problem(f"p{n}", text, label))
    found = Labels()(Subject(lambda: iter(problems)))
    flagged = {flag.number for flag in found.flags}
    assert len(flagged & wrong) / len(flagged) > 0.9
    assert len(flagged & wrong) / len(wrong) > 0.6
    assert all(flag.fix == "answer" and flag.to != problems[flag.number].answer for flag in found.flags)
    assert found == Labels()(Subject(lambda: iter(problems)))


def test_nothing_is_flagged_where_no_classifier_is_better_than_chance():
    rng = np.random.default_rng(2)
    noise = [Problem(f"p{n}", " ".join(rng.choice(list("abcdefgh"), 6)), "xy"[n % 2]) for n in range(200)]
    found = Labels()(Subject(lambda: iter(noise)))
    assert not found.flags
    assert "below 0.7" in found.facts[1]
