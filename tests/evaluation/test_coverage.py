"""pass@k and maj@k: by hand, against fractions and against enumeration of every subset."""

import itertools
import random
import threading
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.errors import InputError
from mtjax.evaluation.coverage import coverage_table, maj_at_k, pass_at_k
from mtjax.sampling.sampler import cut


def test_pass_at_k_by_hand():
    assert pass_at_k(5, 2, 1) == pytest.approx(0.4)  # 2 / 5
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)  # 1 - C(3,3)/C(5,3) = 1 - 1/10
    assert pass_at_k(8, 0, 8) == 0.0
    assert pass_at_k(8, 1, 8) == 1.0
    assert pass_at_k(4, 3, 2) == 1.0  # only one wrong sample: no pair of wrong ones
    assert isinstance(pass_at_k(8, 1, 1), float)


def test_pass_at_k_equals_the_exact_fraction_for_every_small_case():
    for n in range(1, 13):
        for c in range(n + 1):
            for k in range(1, n + 1):
                exact = 1 - Fraction(comb(n - c, k), comb(n, k))
                assert abs(pass_at_k(n, c, k) - exact) < 1e-14, (n, c, k)


def test_checks_of_types_in_another_thread_leave_the_global_generator_alone():
    """Hypothesis compares its state before and after each draw of the test below."""
    before = random.getstate()
    thread = threading.Thread(target=cut, args=("a b c", ["c", "b"]))
    thread.start()
    thread.join()
    assert random.getstate() == before


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(right, data):
    k = data.draw(st.integers(1, len(right)))
    subsets = list(itertools.combinations(right, k))
    assert pass_at_k(len(right), sum(right), k) == pytest.approx(np.mean([any(s) for s in subsets]))


def test_pass_at_k_takes_arrays_and_is_stable_for_many_samples():
    table = pass_at_k(10, np.array([0, 3, 10]), np.array([[1], [5]]))
    assert table.shape == (2, 3)
    np.testing.assert_allclose(table[1], [0, 1 - comb(7, 5) / comb(10, 5), 1], atol=1e-15)
    exact = 1 - Fraction(comb(9_990, 5_000), comb(10_000, 5_000))  # binomials far beyond a float
    assert pass_at_k(10_000, 10, 5_000) == pytest.approx(float(exact), abs=1e-12)
    assert pass_at_k(10_000, 5_000, 10) == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((5, 2, 6), "k=6 of n=5"),
        ((5, 6, 1), "c=6 of n=5"),
        ((5, -1, 1), "c=-1"),
        ((5, 2, 0), "k=0"),
        ((np.array(5.0), 2, 1), "expected whole"),
        (([5, 5], [1, 2, 3], 1), "broadcast"),
    ],
)
def test_pass_at_k_refuses(arguments, said):
    with pytest.raises(InputError, match=said):
        pass_at_k(*arguments)


def majority_by_enumeration(answers, right, k):
    total = Fraction()
    subsets = list(itertools.combinations(range(len(answers)), k))
    for subset in subsets:
        votes = {}
        for i in subset:
            if answers[i] is not None:
                name = "right" if right[i] else f"wrong {answers[i]}"
                votes[name] = votes.get(name, 0) + 1
        best = [name for name, number in votes.items() if number == max(votes.values())]
        total += Fraction(int("right" in best), max(len(best), 1))
    return float(total / len(subsets))


@given(st.lists(st.sampled_from(["1", "2", "3", "4", None]), min_size=1, max_size=9), st.data())
def test_maj_at_k_equals_enumeration(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    right = [answer == "1" for answer in answers]
    assert maj_at_k(answers, right, k) == pytest.approx(majority_by_enumeration(answers, right, k), abs=1e-15)


def test_maj_at_k_by_hand():
    assert maj_at_k(["7", "7", "3"], [True, True, False]) == 1.0
    assert maj_at_k(["7", "3"], [True, False]) == 0.5  # a tie: a fair draw
    assert maj_at_k(["7", "3", "3", None], [True, False, False, False]) == 0.0
    assert maj_at_k(["7", None, None], [True, False, False]) == 1.0  # those without an answer do not vote
    assert maj_at_k([None, None], [False, False]) == 0.0
    assert maj_at_k(["1/2", "0.5", "3", "3"], [True, True, False, False]) == 0.5  # two spellings, one answer


@given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=8))
def test_maj_at_1_is_pass_at_1(answers):
    right = [answer == "1" for answer in answers]
    assert maj_at_k(answers, right, 1) == pytest.approx(pass_at_k(len(answers), sum(right), 1))


def test_maj_at_k_refuses():
    with pytest.raises(InputError, match="k=3 of n=2"):
        maj_at_k(["1", "2"], [True, False], 3)
    with pytest.raises(InputError, match="no answer"):
        maj_at_k([None], [True])
    with pytest.raises(InputError, match="one verdict"):
        maj_at_k(["1"], [True, False])


def test_coverage_table_has_a_row_a_k():
    right = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], bool)
    answers = [["1" if r else "2" for r in row] for row in right]
    rows = coverage_table(answers, right, (1, 2, 4))
    assert [row.k for row in rows] == [1, 2, 4]
    assert rows[0].pass_at_k.mean == pytest.approx(4 / 12)
    assert rows[0].maj_at_k == rows[0].pass_at_k  # at k = 1 a vote is a sample
    assert rows[2].pass_at_k.mean == pytest.approx(2 / 3)
    assert rows[2].maj_at_k.mean == pytest.approx(1 / 3)
    assert rows[1].pass_at_k.low <= rows[1].pass_at_k.mean <= rows[1].pass_at_k.high
