"""Adjusted p-values against values worked by hand and SciPy's; the paired test against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from mtjax.errors import InputError
from mtjax.reporting.multiplicity import benjamini_hochberg, holm, paired_p


def test_by_hand():
    """Sorted .005 .01 .03 .04: Holm 4 x .005, 3 x .01, 2 x .03, then .04 raised; BH 4 p / rank, then lowered."""
    p = [0.01, 0.04, 0.03, 0.005]
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.02, 0.04, 0.04, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).size == benjamini_hochberg([]).size == 0


def test_against_scipy():
    p = np.random.default_rng(0).uniform(size=50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    d = np.random.default_rng(1).normal(0.1, 1, 40)
    np.testing.assert_allclose(paired_p(d), stats.ttest_1samp(d, 0).pvalue)


def test_holm_keeps_the_familywise_error():
    """30 true nulls with a common part, 2000 times: at most 5 % of families have a rejection, within 3 sd."""
    rng = np.random.default_rng(2)
    z = 0.7 * rng.normal(size=(2000, 1)) + np.sqrt(1 - 0.49) * rng.normal(size=(2000, 30))
    p = 2 * stats.norm.sf(abs(z))
    rejected = np.mean([(holm(row) <= 0.05).any() for row in p])
    assert 0.005 < rejected < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_no_difference_and_bad_input():
    assert paired_p([0.0, 0.0]) == 1
    assert paired_p([0.5, 0.5]) == 0
    for bad in ([1.0], [1.0, np.nan]):
        with pytest.raises(InputError, match="at least two finite differences"):
            paired_p(bad)
    with pytest.raises(InputError, match="p-values from 0 to 1"):
        holm([1.2])
