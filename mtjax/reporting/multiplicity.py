"""Many comparisons at once: a p-value of a paired difference, and p-values adjusted for their number."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mtjax.errors import InputError


def paired_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided p-value of Student's paired t-test: are the differences of N problems 0 on average?

    Formula: `t = mean(d) / (sd(d) / sqrt(N))` with N - 1 degrees of freedom. 1 where all differences are 0, and 0 where
    all are the same other number. A resampling test resolves nothing below one in its number of draws, which is too
    coarse for the smallest levels of `holm` with hundreds of comparisons. Raises InputError for fewer than two values,
    or values that are not finite.

    >>> round(paired_p([1.0, 2.0, 3.0]), 4)
    0.0742
    """
    from scipy import stats  # takes a second to import

    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or d.size < 2 or not np.isfinite(d).all():
        raise InputError(f"paired_p needs at least two finite differences in one row; got an array of shape {d.shape}")
    if np.ptp(d) == 0:
        return 1.0 if d[0] == 0 else 0.0
    t = d.mean() / (d.std(ddof=1) / np.sqrt(d.size))
    return float(2 * stats.t.sf(abs(t), d.size - 1))


def holm(p_values: Sequence[float] | np.ndarray) -> Float[np.ndarray, " M"]:
    """Holm's adjusted p-values, in the order given: rejecting those at most a keeps P(any false rejection) <= a.

    Formula: with p sorted upwards, `adjusted_(i) = max_{j <= i} min(1, (M - j + 1) p_(j))`. Valid under any dependence,
    so for comparisons with one baseline on the same problems too. Raises InputError for a value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    p, order = _sorted(p_values, "holm")
    found = np.maximum.accumulate(np.minimum(1, np.arange(p.size, 0, -1) * p))
    return _back(found, order)


def benjamini_hochberg(p_values: Sequence[float] | np.ndarray) -> Float[np.ndarray, " M"]:
    """Benjamini and Hochberg's adjusted p-values: of those at most q, an expected share of at most q is false.

    Formula: with p sorted upwards, `adjusted_(i) = min_{j >= i} min(1, M p_(j) / j)`. For independent or positively
    dependent comparisons. Raises InputError for a value outside [0, 1].

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]

    Source: Benjamini and Hochberg, "Controlling the False Discovery Rate", JRSS B 1995.
    """
    p, order = _sorted(p_values, "benjamini_hochberg")
    found = np.minimum.accumulate(np.minimum(1, p * p.size / np.arange(1, p.size + 1))[::-1])[::-1]
    return _back(found, order)


def _sorted(p_values: Sequence[float] | np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"{name} needs p-values from 0 to 1 in one row; got {p_values}")
    order = np.argsort(p, kind="stable")
    return p[order], order


def _back(found: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Values of the sorted order in the order given."""
    out = np.empty_like(found)
    out[order] = found
    return out
