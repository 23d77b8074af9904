"""The limits of drawing again until an imperfect verifier accepts: closed forms."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.errors import InputError

Rates = Sequence[float] | Float[np.ndarray, " T"]


class Tries(NamedTuple):
    """Chances of one try on each of T kinds of problems; the rest, up to 1, is a try that is accepted."""

    accepted_right: Float[np.ndarray, " T"]  # a = c r: right and accepted
    accepted_wrong: Float[np.ndarray, " T"]  # b = (1 - s)(1 - r): wrong and accepted
    rejected: Float[np.ndarray, " T"]  # beta = (1 - c) r + s (1 - r): another try


def tries(solved: Rates, completeness: float | Rates, soundness: float | Rates) -> Tries:
    """Chances of a try from the solve rate r, c = P(accept | right) and s = P(reject | wrong) of the verifier.

    >>> [part.round(4).tolist() for part in tries([0.5], 1.0, 0.75)]
    [[0.5], [0.125], [0.375]]
    """
    r, c, s = np.broadcast_arrays(np.atleast_1d(np.asarray(solved, float)), completeness, soundness)
    if not r.size:
        raise InputError("no solve rates: expected one for each kind of problem")
    for name, rate in (("solve rate", r), ("completeness", c), ("soundness", s)):
        if not (rate.min() >= 0 and rate.max() <= 1):
            raise InputError(f"{name} from {rate.min():g} to {rate.max():g}: expected shares from 0 to 1")
    return Tries(c * r, (1 - s) * (1 - r), (1 - c) * r + s * (1 - r))


def reached(chances: Tries, k: int) -> Float[np.ndarray, " T"]:
    """`(1 - beta^k) / (1 - beta)`: the expected number of tries until one is accepted, at most k (0 or more)."""
    if k < 0:
        raise InputError(f"{k} tries: expected 0 or more")
    beta = chances.rejected
    return np.where(beta < 1, (1 - beta**k) / np.maximum(1 - beta, 1e-300), k)


def accuracy_of_accepted(chances: Tries, k: int | None = None, prior: Rates | None = None) -> float:
    """The share of right answers among those that are accepted within k tries (None: any number).

    For one kind of problem it is `a / (a + b)` whatever k is: resampling cannot beat it. NaN if nothing is accepted,
    as in 0 tries.
    """
    share, accepted = shares(chances, prior), 1 - chances.rejected
    of_all = np.divide(1, accepted, out=np.zeros_like(accepted), where=accepted > 0)
    weight = share * (of_all if k is None else reached(chances, k))
    right = float(weight @ chances.accepted_right)
    total = right + float(weight @ chances.accepted_wrong)
    return right / total if total else float("nan")


def expected_value(
    chances: Tries, k: int, *, wrong: float = -1.0, right: float = 1.0, prior: Rates | None = None
) -> float:
    """What up to k tries are worth: `sum_t pi_t (V a_t + V_f b_t) (1 - beta_t^k) / (1 - beta_t)`.

    A right answer that is accepted is worth `right`, a wrong one `wrong` (below 0), and none 0. This is the exact sum;
    the paper's notebook weighs by posterior beliefs in the value and again in the chance to get there.

    >>> round(expected_value(tries([0.87, 0.13], 1.0, 0.75), 5, wrong=-2.0, prior=[0.58, 0.42]), 3)
    0.192

    Source: Stroebl et al., "Inference Scaling fLaws: The Limits of LLM Resampling with Imperfect Verifiers", 2024
    (arXiv 2411.17501).
    """
    worth = right * chances.accepted_right + wrong * chances.accepted_wrong
    return float(shares(chances, prior) @ (worth * reached(chances, k)))


def best_tries(
    chances: Tries, most: int = 200, *, wrong: float = -1.0, right: float = 1.0, prior: Rates | None = None
) -> int:
    """The number of tries, up to `most`, with the highest expected value, the fewest of equal ones; 0 if none gains.

    >>> [best_tries(tries([0.87, 0.13], 1.0, 0.75), wrong=v, prior=[0.58, 0.42]) for v in (-0.7, -1.0, -2.0)]
    [3, 2, 1]
    """
    values = [0.0] + [expected_value(chances, k, wrong=wrong, right=right, prior=prior) for k in range(1, most + 1)]
    return int(np.argmax(np.round(values, 12)))


def shares(chances: Tries, prior: Rates | None) -> Float[np.ndarray, " T"]:
    """The shares of the kinds of problems; equal ones without `prior`."""
    count = len(chances.rejected)
    found = np.full(count, 1 / count) if prior is None else np.asarray(prior, float)
    if len(found) != count or not (found.min() >= 0 and abs(found.sum() - 1) <= 1e-6):
        raise InputError(f"prior {found.tolist()}: expected {count} shares that add up to 1")
    return found
