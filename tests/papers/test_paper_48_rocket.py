"""Paper 48, open knowledge for task expertise: K-shot selection of data, and the diversity of chosen experts."""

import numpy as np
import pytest

from mtjax.data.features import hashed, nearest_cosine
from mtjax.data.problem import Problem
from mtjax.data.selection.kshot import KShot, select_similar
from mtjax.data.sources import InMemory
from mtjax.errors import InputError
from mtjax.model.adapters.selection import omega, select


def test_the_nearest_without_near_duplicates_by_hand():
    angle = lambda degrees: [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]
    shots = np.array([angle(0)])
    rows = np.array([angle(80), angle(10), angle(12), angle(50), angle(-45)])
    cosine, which = nearest_cosine(rows, shots)
    np.testing.assert_allclose(cosine[:2], np.cos(np.radians([80, 10])))
    assert which.tolist() == [0] * 5
    # the four nearest are 10, 12, -45 and 50 degrees; 12 is like 10 (2 degrees apart), 10 is nearer
    assert select_similar(rows, shots, 4, 0.9).tolist() == [1, 3, 4]
    assert select_similar(rows, shots, 4, 1.0).tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(nearest_cosine(np.zeros((1, 2)), shots)[0], [0])


def test_questions_like_the_examples_are_kept():
    cooking = ["How long must the soup boil with salt", "How much salt is in the soup", "Boil the soup for how long"]
    others = [f"The train {n} leaves the station at noon" for n in range(5)]
    open_data = [
        Problem(f"p{n}", text) for n, text in enumerate([*others[:2], *cooking, cooking[0] + ".", *others[2:]])
    ]
    shots = InMemory((Problem("s", "How long should I boil a soup"),))
    kept = KShot(shots, number=4)(open_data, 0)
    assert [problem.id for problem in kept.items] == ["p2", "p3", "p4"]
    assert hashed(["a b"]).shape == (1, 4096)


def test_embeddings_of_a_model_from_files(tmp_path):
    np.savez(tmp_path / "data.npz", ids=np.array(["b", "a"]), embeddings=np.array([[0.0, 1.0], [1.0, 0.0]]))
    np.savez(tmp_path / "shots.npz", ids=np.array(["s"]), embeddings=np.array([[0.1, 0.9]]))
    files = {"embeddings": str(tmp_path / "data.npz"), "shot_embeddings": str(tmp_path / "shots.npz")}
    shots = InMemory((Problem("s", "x"),))
    assert [p.id for p in KShot(shots, 1, **files)([Problem("a", "x"), Problem("b", "x")], 0).items] == ["b"]
    with pytest.raises(InputError, match="has no embedding of c"):
        KShot(shots, 1, **files)([Problem("c", "x")], 0)
    with pytest.raises(InputError, match="give both"):
        KShot(shots, 1, embeddings="x")
    assert KShot(shots, 1, **files).fingerprint() != KShot(shots, 1).fingerprint()


def test_the_diversity_and_the_choice_of_experts():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]])
    cosines = vectors @ vectors.T
    assert omega(cosines, (0, 1)) == pytest.approx(1.25)
    assert omega(cosines, (1, 2)) == pytest.approx(1 / 0.6)
    found = select([1.0, 9.0, 8.0, 7.0], [0.9, 0.1, 0.2, 0.3], np.eye(4), most=3, count=2)
    assert 0 in found.chosen  # the one that was trained on the task


def test_an_expert_that_adds_nothing_is_left_out():
    cosines = np.full((6, 6), 0.5)
    np.fill_diagonal(cosines, 1)
    cosines[0, 1] = cosines[1, 0] = 0.99
    cosines[0, 2] = cosines[2, 0] = 0.0
    found = select([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], cosines, 4, 2)
    assert found.chosen == (0, 2)
