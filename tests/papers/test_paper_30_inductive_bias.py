"""Paper 30, exact inductive bias (arXiv 2406.15941): the fitted tail against brute force."""

import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.evaluation.inductive_bias import log_gamma_tail, required_bits


def losses(dim, count, seed=0):
    """Test losses of random linear hypotheses w ~ N(0, 1) on inputs of unit variance, the true one being w* = 0."""
    return (np.random.default_rng(seed).normal(size=(count, dim)) ** 2).sum(axis=1)


@pytest.mark.parametrize(("dim", "threshold"), [(3, 0.1), (6, 0.6), (10, 1.5)])
def test_linear_regression_agrees_with_a_million_draws(dim, threshold):
    brute = -np.log2(np.mean(losses(dim, 1_000_000, seed=1) <= threshold))
    assert brute > 5
    # The fit sees 10,000 of them, few of which are that good.
    assert required_bits(losses(dim, 10_000), threshold) == pytest.approx(brute, rel=0.05)


def test_more_input_dimensions_take_more_bits():
    bits = [required_bits(losses(dim, 2_000), 0.5) for dim in (2, 4, 8, 16)]
    assert bits == sorted(bits)
    assert np.diff(bits).min() > 1


def test_a_tail_that_underflows_has_a_logarithm():
    from scipy.stats import gamma

    for shape, x in ((0.5, 0.01), (3.0, 1.0), (50.0, 30.0), (5.0, 20.0)):
        assert log_gamma_tail(shape, x) == pytest.approx(gamma.logcdf(x, shape), rel=1e-10)
    assert log_gamma_tail(500.0, 1.0) == pytest.approx(-2612.3, abs=1)  # exp of it is 0 in float64
    with pytest.raises(InputError, match="at least two different"):
        required_bits([1.0, 1.0], 0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_losses_are_finite(bad):
    with pytest.raises(InputError, match="finite"):
        required_bits([bad, 1.0, 2.0], 0.5)
