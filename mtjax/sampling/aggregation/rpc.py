"""RPC: perplexity consistency after improbable solutions are pruned."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mtjax.sampling.aggregation.base import AGGREGATIONS, distinct_paths
from mtjax.sampling.aggregation.perplexity import summed

FEWEST = 4  # solutions to which a mixture is fitted
START = (0.5, 1.0, 1.0, 1.5, 2.0)  # weight of the first part, shape and scale of each, as in the authors' code
BOUNDS = ((0.2, 0.8), *[(0.01, None)] * 4)


def weibull_log_density(x: Float[np.ndarray, " n"], shape: float, scale: float) -> Float[np.ndarray, " n"]:
    """`log((k/l) (x/l)^(k-1) exp(-(x/l)^k))` for `x > 0`.

    >>> round(float(np.exp(weibull_log_density(np.array([1.0]), 1.5, 2.0))[0]), 9)
    0.372391688
    """
    ratio = np.log(x) - np.log(scale)
    return np.log(shape / scale) + (shape - 1) * ratio - np.exp(np.minimum(shape * ratio, 700.0))


def kept_paths(log_probs: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which of the solutions with these log-probabilities are not pruned.

    A mixture of two Weibull distributions is fitted to the probabilities, divided by their mean. A solution is pruned
    if it belongs to the part with the higher mean with a probability below 1/2, and is less probable than the mean.
    Nothing is pruned of fewer than four solutions, of equal ones, and where the fit fails.
    """
    from scipy.optimize import minimize  # takes a tenth of a second and more to import
    from scipy.special import gammaln, logsumexp

    everything = np.ones(len(log_probs), bool)
    if len(log_probs) < FEWEST or np.ptp(log_probs) == 0:
        return everything
    logs = log_probs - logsumexp(log_probs) + np.log(len(log_probs))
    x = np.exp(np.maximum(logs, -600.0))

    def parts(values: Any) -> np.ndarray:
        share, *rest = values
        first, second = weibull_log_density(x, *rest[:2]), weibull_log_density(x, *rest[2:])
        return np.stack([np.log(share) + first, np.log1p(-share) + second])

    fit = minimize(lambda values: -np.sum(logsumexp(parts(values), axis=0)), START, bounds=BOUNDS, method="L-BFGS-B")
    found = parts(fit.x)
    if not np.isfinite(found).all():
        return everything
    mean = [np.log(scale) + gammaln(1 + 1 / shape) for shape, scale in (fit.x[1:3], fit.x[3:5])]
    of_higher = found[int(np.argmax(mean))] - logsumexp(found, axis=0)
    return (of_higher >= np.log(0.5)) | (x >= np.mean(x))


@AGGREGATIONS.register("rpc")
def rpc(
    answers: Sequence[Hashable | None], log_probs: Sequence[float | None], samples: Sequence[Any] | None = None
) -> Mapping[Hashable, float]:
    """As `perplexity`, but solutions that `kept_paths` finds improbable are left out first. No settings.

    If all solutions are equally probable and distinct, the weights are the shares of a majority vote. Probabilities are
    those of sequences, as in the paper's theory; the authors' code takes the exponential of the mean over tokens.
    InputError if a log-probability is unknown.

    Source: Zhou et al., "Bridging Internal Probability and Self-Consistency for Effective and Efficient LLM
    Reasoning", NeurIPS 2025 (arXiv 2502.00511).
    """
    paths = distinct_paths(answers, log_probs, samples)
    kept = kept_paths(np.array([log for _, log in paths], np.float64))
    return summed([path for path, keep in zip(paths, kept, strict=True) if keep])
