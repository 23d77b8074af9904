"""Coverage: pass@k (one of k samples is right) and maj@k (the vote of k samples is right), both exact."""

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from fractions import Fraction
from math import comb
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.errors import InputError
from mtjax.reporting.intervals import Interval, mean_interval
from mtjax.sampling.aggregation import AGGREGATIONS

Count = int | np.integer | np.ndarray | jax.Array | Sequence[int]


def pass_at_k(n: Count, c: Count, k: Count) -> float | np.ndarray:
    """Unbiased chance that at least one of k samples is right, from n samples of which c are.

    Formula: `1 - C(n - c, k) / C(n, k) = 1 - prod_{j < k} (n - c - j) / (n - j)`, the share of the k-subsets of n
    samples that hold a right one. (Plugging c/n into `1 - (1 - p)^k` is biased downwards.) Take n well above k: at
    n = k the estimate is 0 or 1.

    Whole numbers give a float; arrays broadcast. Ranges: 0 <= c <= n, 1 <= k <= n; InputError otherwise.

    >>> pass_at_k(5, 2, 1), pass_at_k(5, 2, 3)
    (0.4, 0.9)

    Source: Chen et al., "Evaluating Large Language Models Trained on Code", 2021, section 2.1 (arXiv 2107.03374).
    """
    arrays = [np.asarray(value) for value in (n, c, k)]
    for name, value, array in zip("nck", (n, c, k), arrays, strict=True):
        _check(np.issubdtype(array.dtype, np.integer), f"{name}={value!r}: expected whole numbers, got {array.dtype}")
    try:
        samples, right, draw = np.broadcast_arrays(*(array.astype(np.int64) for array in arrays))
    except ValueError:
        shapes = [array.shape for array in arrays]
        raise InputError(f"n, c and k have shapes {shapes}, which do not broadcast; give one c a problem") from None
    _check(np.all((right >= 0) & (right <= samples)), f"c={c} of n={n}: expected 0 <= c <= n")
    _check(np.all((draw >= 1) & (draw <= samples)), f"k={k} of n={n}: expected 1 <= k <= n; draw more samples")
    # The factors run over the smaller of k and c: C(n-c, k) / C(n, k) is symmetric in the two.
    few, many = np.minimum(draw, right), np.maximum(draw, right)
    none_right = np.ones(samples.shape)
    for j in range(int(few.max(initial=0))):
        factor = np.maximum(samples - many - j, 0) / np.maximum(samples - j, 1)
        none_right = np.where(j < few, none_right * factor, none_right)
    return 1 - none_right if none_right.ndim else float(1 - none_right)


def maj_at_k(
    answers: Sequence[Hashable | None], right: Sequence[bool] | np.ndarray, k: int | np.integer | None = None
) -> float:
    """Expected correctness of the majority vote of k (default all) of the n samples of one problem.

    Formula: the mean over all `C(n, k)` subsets of `1 / (number of answers with the most votes)` where the right answer
    is among them, else 0: a tie is broken by a fair draw. The subsets are counted, not sampled, so there is no noise.

    A sample without an answer (None) has no vote but takes a place among the k; a subset without votes is not right.
    Right samples count as one answer however they are written; wrong ones are told apart by `answers`, so give them in
    canonical form. Raises InputError for other lengths, k out of range, and a right sample without an answer.

    >>> maj_at_k(["7", "7", "3"], [True, True, False], k=2)  # {7,7} right, {7,3} twice a tie: (1 + 1/2 + 1/2) / 3
    0.6666666666666666

    Source: Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models", ICLR 2023,
    section 2 (arXiv 2203.11171).
    """
    n = len(answers)
    k = n if k is None else int(k)
    _check(len(right) == n, f"{n} answers but {len(right)} verdicts: give one verdict a sample")
    _check(1 <= k <= n, f"k={k} of n={n}: expected 1 <= k <= n; draw more samples")
    odd = [i for i in range(n) if right[i] and answers[i] is None]
    _check(not odd, f"samples {odd[:5]} have no answer (None) but are called right: give the answer, or call it wrong")
    votes = Counter(answer for answer, good in zip(answers, right, strict=True) if answer is not None and not good)
    rivals, ours = list(votes.values()), int(np.sum(right))
    silent = n - ours - sum(rivals)
    won = [comb(ours, v) * _wins(rivals, silent, v, k - v) for v in range(1, min(ours, k) + 1)]
    return float(sum(won, Fraction()) / comb(n, k))


def _wins(rivals: list[int], silent: int, most: int, places: int) -> Fraction:
    """Ways to fill `places` with samples not right so that no rival has over `most` votes, each over its share of ties.

    A rival with fewer samples than `most` can neither win nor tie, and joins the silent ones. `ways[tied][filled]`.
    """
    free = silent + sum(size for size in rivals if size < most)
    ways = [[comb(free, filled) for filled in range(places + 1)]]
    for size in (size for size in rivals if size >= most):
        grown = [[0] * (places + 1) for _ in range(len(ways) + 1)]
        for tied, row in enumerate(ways):
            for filled, number in enumerate(row):
                for votes in range(min(most, places - filled) + 1) if number else ():
                    grown[tied + (votes == most)][filled + votes] += number * comb(size, votes)
        ways = grown
    return sum((Fraction(row[places], tied + 1) for tied, row in enumerate(ways)), Fraction())


def vote_at_k(
    aggregation: str,
    answers: Sequence[Hashable | None],
    right: Sequence[bool] | np.ndarray,
    log_probs: Sequence[float | None],
    k: int,
    most: int = 1000,
    samples: Sequence[Any] | None = None,
) -> float:
    """As `maj_at_k`, but k samples choose the answer with the highest weight under a registered aggregation.

    `majority` is exact; other aggregations are averaged over all subsets of k samples, or over `most` random ones (of a
    fixed seed) if there are more.
    """
    if aggregation == "majority":
        return maj_at_k(answers, right, k)
    weigh, n = AGGREGATIONS.find(aggregation), len(answers)
    names = ["right" if right[i] else None if answers[i] is None else ("wrong", answers[i]) for i in range(n)]
    rng, few = np.random.default_rng(0), comb(n, k) <= most
    won = []
    for subset in itertools.combinations(range(n), k) if few else (rng.permutation(n)[:k] for _ in range(most)):
        drawn = None if samples is None else [samples[i] for i in subset]
        weights = weigh([names[i] for i in subset], [log_probs[i] for i in subset], drawn)
        first = [name for name, weight in weights.items() if weight == max(weights.values())]
        won.append(("right" in first) / max(len(first), 1))
    return float(np.mean(won))


class CoverageRow(NamedTuple):
    """Coverage at one k over many problems: means with bootstrap intervals over problems."""

    k: int
    pass_at_k: Interval
    maj_at_k: Interval


def coverage_table(
    answers: Sequence[Sequence[Hashable | None]],
    right: np.ndarray,
    ks: Iterable[int],
    log_probs: Sequence[Sequence[float | None]] | None = None,
    aggregation: str = "majority",
    *,
    level: float = 0.95,
    seed: int = 0,
    samples: Sequence[Sequence[Any]] | None = None,
) -> list[CoverageRow]:
    """pass@k and maj@k (by any registered aggregation) for every k, with intervals over the problems.

    Shapes: `right` is bool `[N, n]`, n samples of each of N problems; the others are N lists of n.
    Ranges: every k from 1 to n. Raises InputError otherwise.
    """
    right = np.asarray(right, bool)
    fits = right.ndim == 2 and right.shape[0] == len(answers)
    _check(fits, f"right of shape {right.shape} for {len(answers)} problems")
    log_probs = [[None] * len(row) for row in answers] if log_probs is None else log_probs
    drawn: Sequence[Any] = [None] * len(answers) if samples is None else samples
    rows = []
    for k in ks:
        passes = np.asarray(pass_at_k(right.shape[1], right.sum(axis=1), k))
        given = zip(answers, right, log_probs, drawn, strict=True)
        votes = [vote_at_k(aggregation, own, good, scores, k, samples=all_of) for own, good, scores, all_of in given]
        interval = [mean_interval(values, level=level, seed=seed) for values in (passes, np.array(votes))]
        rows.append(CoverageRow(int(k), *interval))
    return rows


def _check(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise InputError(message)
