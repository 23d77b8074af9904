"""Paper 55, AfLite: a planted leaky feature is filtered out, and noise is kept."""

import numpy as np

from mtjax.data.problem import Problem
from mtjax.mistakes.checks import Subject
from mtjax.mistakes.checks.labels import cross_fitted
from mtjax.mistakes.checks.shortcuts import Shortcuts, aflite

SETTINGS = {"train": 200, "slice_size": 100, "threshold": 0.75, "partitions": 32, "seed": 0}


def probe(features, labels):
    p = cross_fitted(features, labels, np.arange(len(labels)) % 5, 2)
    return float((p.argmax(axis=1) == labels).mean())


def planted(seed=0, size=2000, leaky=0.4):
    """Noise, and one feature that gives the label of 40 % of the rows away."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    features = rng.normal(0, 1, (size, 8))
    leak = rng.random(size) < leaky
    features[leak, 0] = np.where(labels[leak] == 1, 4.0, -4.0)
    features[~leak, 0] = 0
    return features, labels, leak


def test_a_planted_leak_is_removed_and_a_new_probe_falls_to_chance():
    features, labels, leak = planted()
    assert probe(features, labels) > 0.65
    removed, score = aflite(features, labels, **SETTINGS)
    assert removed[leak].mean() > 0.95
    assert leak[removed].mean() > 0.85
    assert abs(probe(features[~removed], labels[~removed]) - 0.5) < 0.08
    assert np.nanmean(score[leak]) > 0.9
    again, _ = aflite(features, labels, **SETTINGS)
    np.testing.assert_array_equal(removed, again)


def test_noise_is_kept():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(0, 1, (2000, 8)), rng.integers(0, 2, 2000)
    removed, _ = aflite(features, labels, **SETTINGS)
    assert removed.mean() < 0.05


def test_the_check_names_the_texts_that_give_themselves_away():
    rng = np.random.default_rng(2)
    words = [f"w{n}" for n in range(30)]
    problems = []
    for n in range(120):
        text = lambda: " ".join(rng.choice(words, 6))
        right, wrong = (text() for _ in range(2))
        problems.append(Problem(f"p{n}", "q", "1", (right,), ("However " + wrong if n < 60 else wrong,)))
    found = Shortcuts(partitions=8)(Subject(lambda: iter(problems)))
    given_away = [flag for flag in found.flags if flag.part == "wrong/0" and flag.number < 60]
    assert len(given_away) > 40
    before, after = (row[2] for row in found.tables[0].rows)
    assert before > after + 0.1
