"""Paper 3, learning to actively learn: on thresholds a margin policy needs log2(n) labels, random far more."""

import math

import numpy as np
import pytest

from mtjax.data.problem import Problem
from mtjax.data.selection.acquire import Acquire, informativeness
from mtjax.errors import InputError


def test_the_measures_by_hand():
    even, sure = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    assert informativeness(even[None], "entropy") == pytest.approx(math.log(2))
    assert informativeness(np.array([[0.6, 0.3, 0.1]]), "margin") == pytest.approx(1 - 0.3)
    assert informativeness(np.stack([even, even]), "disagreement") == 0  # the models agree that nothing is known
    assert informativeness(np.stack([sure, sure[::-1]]), "disagreement") == pytest.approx(math.log(2))
    assert informativeness(sure[None], "margin") == informativeness(sure[None], "entropy") == 0


def labels_needed(size, threshold, choose):
    """Labels until the threshold is known: points 0 .. size - 1, of which those from `threshold` on are positive."""
    low, high, asked = 0, size, 0  # the threshold is in low .. high
    while low < high:
        # the posterior of a uniform prior over the thresholds that are left: P(point is positive)
        points = np.arange(low, high)
        positive = (points - low + 1) / (high - low + 1)
        point = points[choose(np.stack([positive, 1 - positive], axis=1))]
        asked += 1
        low, high = (low, point) if point >= threshold else (point + 1, high)
    return asked


def test_margin_needs_the_logarithm_and_random_far_more():
    size, rng = 255, np.random.default_rng(0)
    margin = lambda p: int(np.argmax([informativeness(row[None], "margin") for row in p]))
    entropy = lambda p: int(np.argmax([informativeness(row[None], "entropy") for row in p]))
    for choose in (margin, entropy):
        needed = [labels_needed(size, threshold, choose) for threshold in range(0, size + 1, 17)]
        assert max(needed) <= math.log2(size + 1) + 1
    pool = lambda p: int(rng.integers(len(p)))  # random among those that are not known: still a good policy

    def passive(threshold):
        """Labels of points in random order until the threshold is known."""
        order = rng.permutation(size).tolist()
        known = {max(threshold - 1, 0), min(threshold, size - 1)} & set(range(size))
        return max(order.index(point) for point in known) + 1

    assert np.mean([labels_needed(size, t, pool) for t in range(0, size + 1, 17)]) > 9
    assert np.mean([passive(t) for t in range(0, size + 1, 17)]) > 100


def test_the_selection_by_the_answers_of_samples(tmp_path):
    def mined(name, *answers):
        head = '{"schema": 1, "number": %d, "id": "p%d", "question": "q", "answer": "9", "solutions": [%s]}\n'
        text = '{"text": "#### %s", "verdict": "unknown", "count": %d}'
        lines = [head % (n, n, ", ".join(text % pair for pair in own.items())) for n, own in enumerate(answers)]
        (tmp_path / name).write_text("".join(lines))
        return str(tmp_path / name)

    one = mined("one.jsonl", {"1": 4}, {"1": 2, "2": 2}, {"1": 3, "2": 1}, {})
    two = mined("two.jsonl", {"2": 4}, {"1": 2, "2": 2}, {"1": 3, "2": 1}, {})
    problems = [Problem(f"p{n}", "q") for n in range(4)]
    ids = lambda selection: [problem.id for problem in selection(problems, 0).items]
    assert ids(Acquire((one,), budget=2)) == ["p1", "p2"]
    assert ids(Acquire((one,), budget=3, by="margin")) == ["p0", "p1", "p2"]
    assert ids(Acquire((one, two), budget=1, by="disagreement")) == ["p0"]
    with pytest.raises(InputError, match="give at least two files"):
        Acquire((one,), by="disagreement")
    with pytest.raises(InputError, match="no problem has samples"):
        Acquire((one,))([Problem("other", "q")], 0)
