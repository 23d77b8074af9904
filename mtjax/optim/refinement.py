"""Learning rates from gradient norms: the schedule whose last iterate has the smallest bound."""

import numpy as np
from jaxtyping import Float


def refine(
    norms: Float[np.ndarray, " T"], power: int, smoothing: float | int = 0.1, points: int | None = None
) -> Float[np.ndarray, " N"]:
    """Learning rates relative to their largest, from the gradient norms of a run.

    Formula: `w_t = G_t^-power`, `rate_t = w_t (sum_{p > t} w_p)`, divided by the largest; the last one is 0. Norms are
    smoothed by a median over a share `smoothing` of the run. Constant norms give linear decay.

    Args:
        norms: gradient norms before clipping, step by step.
        power: 1 for Adam and its kin, with L1 norms; 2 for gradient descent, with L2 norms.
        smoothing: share of the run that a window of the median spans; 0 does not smooth.
        points: number of rates; None gives one per step.

    Source: Defazio et al., 2023 (arXiv 2310.07831), and the authors' code.
    """
    norms = np.asarray(norms, np.float64)
    half = int(smoothing * len(norms) / 2)
    if half:
        width = 2 * half + 1
        # The end is reflected, since rates fall towards it; the start is continued.
        padded = np.concatenate([norms, norms[::-1][: 2 * width]])
        from scipy.ndimage import median_filter

        norms = median_filter(padded, size=width, mode="nearest")[: len(norms)]
    weights = norms**-power
    later = np.append(np.cumsum(weights[::-1])[::-1][1:], 0.0)
    rates = weights * later
    rates /= rates.max()
    if points is None:
        return rates
    return np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(rates)), rates)
