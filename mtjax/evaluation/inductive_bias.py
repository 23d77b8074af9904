"""How many bits of luck it takes for a random hypothesis to be as good as a trained one."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mtjax.errors import InputError


def log_gamma_tail(shape: float, x: float) -> float:
    """`log P(G <= x)` of a gamma variable of this shape and scale 1, accurate where the chance underflows.

    Formula: `x^a e^-x / Gamma(a + 1) (1 + x / (a + 1) + x^2 / ((a + 1)(a + 2)) + ...)`, in logs; for x beyond the mean
    by the upper tail.

    >>> round(log_gamma_tail(1.0, 1e-300), 3)  # 1 - exp(-x) is about x
    -690.776
    """
    from scipy.stats import gamma

    if x <= 0:
        return -np.inf
    if x > shape + 1:
        return float(gamma.logcdf(x, shape))
    term, total, n = 1.0, 1.0, 0
    while term > 1e-16 * total:
        n += 1
        term *= x / (shape + n)
        total += term
    return float(shape * np.log(x) - x - math.lgamma(shape + 1) + np.log(total))


def required_bits(losses: Sequence[float] | Float[np.ndarray, " K"], threshold: float, least: float = 0.0) -> float:
    """`-log2 P(loss <= threshold)` of a random hypothesis, from the losses of K of them.

    Formula: the losses are fitted by a scaled chi-square (a gamma distribution), `loss = least + theta G`, whose mean
    and variance are those of the sample, and its lower tail is evaluated in logs; so that a threshold far below all K
    losses has an answer, which is an extrapolation. For a squared error, which is a sum of squares, the shape is right
    to two moments.

    Args:
        losses: of hypotheses drawn from the prior, such as models with random parameters.
        threshold: the loss to reach.
        least: the loss that no hypothesis is below; thresholds at or below it take infinitely many bits.

    Raises:
        InputError: fewer than two losses, equal ones, or one that is not finite or at or below `least`.

    Source: Boopathy et al., "Towards Exact Computation of Inductive Bias", 2024 (arXiv 2406.15941), which fits a
    non-central chi-square and conditions on fitting the training data; its text was not read.
    """
    values = np.asarray(losses, float) - least
    if len(values) < 2 or not np.isfinite(values).all() or values.min() <= 0 or np.ptp(values) == 0:
        raise InputError(f"losses {values[:3]}... over {least:g}: expected at least two different finite ones above it")
    mean, variance = values.mean(), values.var(ddof=1)
    tail = log_gamma_tail(mean**2 / variance, (threshold - least) * mean / variance)
    return float(max(-tail / np.log(2), 0.0))
