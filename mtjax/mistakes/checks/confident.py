"""Confident learning: the joint distribution of given and true labels, from probabilities that may be wrong."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Prune = Literal["by_noise_rate", "by_class", "both", "confident"]
TOLERANCE = 1e-6  # By which a probability may miss its threshold.

Labels = Int[np.ndarray, " N"]
Probabilities = Float[np.ndarray, "N K"]


class Joint(NamedTuple):
    """What confident learning estimates; rows are given labels, columns true ones."""

    thresholds: Float[np.ndarray, " K"]  # t_j, above 1 for a class without examples
    counts: Int[np.ndarray, "K K"]  # C, the confident joint
    joint: Float[np.ndarray, "K K"]  # Q, the estimated joint distribution, sums to 1
    confident: Int[np.ndarray, " N"]  # the class that each example is confidently counted in; -1 for none

    @property
    def noise(self) -> float:
        """The estimated share of wrong labels, `1 - trace(Q)`."""
        return float(1 - np.trace(self.joint))


def confident_joint(labels: Labels, p: Probabilities) -> Joint:
    """The joint distribution of given and true labels.

    Formula: `t_j` is the mean of `p_j` over the examples labelled j. An example labelled i counts in `C[i, j]` if j is
    the most likely of the classes with `p_j >= t_j`; one that is below every threshold counts nowhere, and the diagonal
    is at least 1. Row i of C is scaled to the number of examples labelled i, and Q is that over N. `p` must be out of
    sample: predicted for each example by a model that did not see its label.

    Source: Northcutt, Jiang and Chuang, "Confident Learning", 2021 (arXiv 1911.00068), as in the package `cleanlab`;
    used by Northcutt, Athalye and Mueller, "Pervasive Label Errors in Test Sets", 2021 (arXiv 2103.14749).
    """
    size, classes = p.shape
    given = np.bincount(labels, minlength=classes)
    of_class = [p[labels == j, j].mean() if given[j] else 1 + 2 * TOLERANCE for j in range(classes)]
    thresholds = np.array(of_class)
    masked = np.where(p >= thresholds - TOLERANCE, p, -1.0)
    confident = np.where(masked.max(axis=1) >= 0, masked.argmax(axis=1), -1)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels[confident >= 0], confident[confident >= 0]), 1)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    rows = counts / counts.sum(axis=1, keepdims=True) * given[:, None]
    return Joint(thresholds, counts, rows / max(size, 1), confident)


def margins(labels: Labels, p: Probabilities) -> Float[np.ndarray, " N"]:
    """The normalised margin of each given label, `p_label - max of the others`: low ones are suspicious."""
    others = p.copy()
    others[np.arange(len(p)), labels] = -np.inf
    return p[np.arange(len(p)), labels] - others.max(axis=1)


def label_errors(labels: Labels, p: Probabilities, prune: Prune = "by_noise_rate") -> Bool[np.ndarray, " N"]:
    """Which labels are probably wrong.

    by_noise_rate: for each pair of classes the `N Q[i, j]` examples labelled i with the largest `p_j - p_i`. by_class:
    of each class i the `N sum_j Q[i, j]` with the smallest `p_i`. both: those of both. confident: those that the
    confident joint counts off its diagonal. At least one example of each class is kept.
    """
    found = confident_joint(labels, p)
    size, classes = p.shape
    expected = found.joint * size
    off = ~np.eye(classes, dtype=bool)
    rate, own, direct = (np.zeros(size, bool) for _ in range(3))
    for i in range(classes):
        members = np.flatnonzero(labels == i)
        room = max(len(members) - 1, 0)
        for j in range(classes):
            number = min(round(float(expected[i, j])), room)
            if i != j and number:
                order = np.argsort(-(p[members, j] - p[members, i]), kind="stable")
                rate[members[order[:number]]] = True
        number = min(round(float(expected[i][off[i]].sum())), room)
        own[members[np.argsort(p[members, i], kind="stable")[:number]]] = True
        direct[members] = (found.confident[members] != i) & (found.confident[members] >= 0)
        for mask in (rate, direct):
            if len(members) and mask[members].all():
                mask[members[p[members, i].argmax()]] = False
    return {"by_noise_rate": rate, "by_class": own, "both": rate & own, "confident": direct}[prune]
