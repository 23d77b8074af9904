"""How well a score ranks what is true before what is not: AUROC, average precision, and rank correlation."""

from typing import Any

import numpy as np
from jaxtyping import Float


def auroc(scores: Any, positive: Any) -> Float[np.ndarray, " R"]:
    """The chance that a positive has a higher score than a negative, equal scores counting half; of each row.

    `scores` and `positive` are `[N]` or `[R, N]`; NaN in rows without positives or without negatives.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).tolist()
    [0.75]

    Source: Hanley and McNeil, "The Meaning and Use of the Area under a ROC Curve", Radiology 1982.
    """
    from scipy.stats import rankdata

    values, truth = np.atleast_2d(np.asarray(scores, float)), np.atleast_2d(np.asarray(positive, bool))
    count = truth.sum(axis=1)
    pairs = count * (truth.shape[1] - count)
    wins = (rankdata(values, axis=1) * truth).sum(axis=1) - count * (count + 1) / 2
    return np.divide(wins, pairs, out=np.full(len(values), np.nan), where=pairs > 0)


def spearman(first: Any, second: Any) -> Float[np.ndarray, " R"]:
    """Spearman's rank correlation of each row, with mean ranks for ties; NaN where one of the two is constant.

    >>> spearman([1, 2, 3, 4], [1, 4, 9, 16]).tolist()
    [1.0]
    """
    from scipy.stats import rankdata

    ranks = [rankdata(np.atleast_2d(np.asarray(values, float)), axis=1) for values in (first, second)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    below = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.divide((x * y).sum(axis=1), below, out=np.full(len(below), np.nan), where=below > 0)


def average_precision(scores: Any, positive: Any) -> Float[np.ndarray, " R"]:
    """`sum_k (R_k - R_(k-1)) P_k` over the distinct scores, highest first; of each row, NaN without positives.

    P_k and R_k are precision and recall of what has at least the k-th score, as scikit-learn's
    `average_precision_score`.

    >>> average_precision([0.9, 0.8, 0.7, 0.6, 0.2], [1, 0, 1, 0, 1]).round(10).tolist()
    [0.7555555556]
    """
    values, truth = np.atleast_2d(np.asarray(scores, float)), np.atleast_2d(np.asarray(positive, bool))
    order = np.argsort(-values, axis=1, kind="stable")
    values, truth = np.take_along_axis(values, order, 1), np.take_along_axis(truth, order, 1)
    last = np.ones(values.shape, bool)  # the last of equal scores
    last[:, :-1] = values[:, 1:] != values[:, :-1]
    hits = np.cumsum(truth, axis=1)
    at = np.where(last, np.arange(values.shape[1]), values.shape[1])
    at = np.minimum.accumulate(at[:, ::-1], axis=1)[:, ::-1]  # of each place, that of the last equal score
    precision = np.take_along_axis(hits, at, 1) / (at + 1)
    count = hits[:, -1]
    return np.divide((precision * truth).sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0)
