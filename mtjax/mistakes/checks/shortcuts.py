"""Texts whose label a linear model tells from features that should not give it away (AfLite)."""

import dataclasses
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Le
from jaxtyping import Bool, Float

from mtjax.io.hashing import random_order
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Subject, folds_of, labelled
from mtjax.mistakes.checks.confident import Labels
from mtjax.mistakes.checks.labels import classes_of, classifier, cross_fitted
from mtjax.reporting.report import Table
from mtjax.validation import PositiveInt


def predictability(
    features: Any, labels: Labels, groups: np.ndarray, train: int, partitions: int, key: tuple[int, ...]
) -> Float[np.ndarray, " N"]:
    """How often each label is predicted by logistic regressions that did not see it; NaN if it was always seen.

    `partitions` times, groups of together at most `train` rows are drawn to fit on, and the other rows predicted.
    Classes weigh the same, because a frequent label is no shortcut.
    """
    names, places = np.unique(groups, return_inverse=True)
    sizes = np.bincount(places)
    right, times = np.zeros(len(labels)), np.zeros(len(labels))
    for number in range(partitions):
        order = random_order(len(names), *key, number)
        drawn = np.zeros(len(names), bool)
        drawn[order[np.cumsum(sizes[order]) <= train]] = True
        seen, rest = np.flatnonzero(drawn[places]), np.flatnonzero(~drawn[places])
        if len(np.unique(labels[seen])) < 2:
            continue
        model = classifier(features[seen], labels[seen], balanced=True)
        right[rest] += model.predict(features[rest]) == labels[rest]
        times[rest] += 1
    return np.divide(right, times, out=np.full(len(labels), np.nan), where=times > 0)


def aflite(
    features: Any, labels: Labels, *, train: int, slice_size: int, threshold: float, partitions: int, seed: int,
    groups: np.ndarray | None = None,
) -> tuple[Bool[np.ndarray, " N"], Float[np.ndarray, " N"]]:  # fmt: skip
    """AfLite: which rows are removed, and the predictability that each row had when it was last measured.

    Formula: while more than `train` rows are left, the `slice_size` rows with the highest predictability of at least
    `threshold` are removed; it ends after a step that finds fewer than `slice_size` of them, which are removed too.
    Rows of one of the `groups`, such as solutions of one problem, are never on both sides of a partition.

    Source: Sakaguchi et al., "WinoGrande: An Adversarial Winograd Schema Challenge at Scale", 2019 (arXiv 1907.10641),
    algorithm 1.
    """
    kept, score, step = np.arange(len(labels)), np.full(len(labels), np.nan), 0
    groups = kept if groups is None else groups
    while len(kept) > train:
        most = min(train, len(kept) - 1)
        score[kept] = predictability(features[kept], labels[kept], groups[kept], most, partitions, (seed, step))
        high = kept[np.nan_to_num(score[kept], nan=0.0) >= threshold]
        chosen = high[np.argsort(-score[high], kind="stable")][: min(slice_size, len(kept) - train)]
        kept, step = np.setdiff1d(kept, chosen), step + 1
        if len(chosen) < slice_size:
            break
    removed = np.ones(len(labels), bool)
    removed[kept] = False
    return removed, score


@CHECKS.register("shortcuts")
@dataclasses.dataclass(frozen=True)
class Shortcuts(Check):
    """Texts whose label is predicted from the text alone, without the question, by adversarial filtering (AfLite).

    A linear model that tells right from wrong solutions without reading the question has found a shortcut, such as
    their length or a word, and a trained model may learn it too. Flagged are the texts that AfLite removes. Features
    are hashed words, or hidden states of `--model`, which was not trained on these data. The paper has n = 64, a size
    of 10,000, slices of 500 and a threshold of 0.75. Here size and slice are at most a tenth and a twentieth of the
    data: regressions on larger parts of the same data agree with each other, and then noise is removed too.

    Source: Sakaguchi et al., "WinoGrande: An Adversarial Winograd Schema Challenge at Scale", 2019 (arXiv 1907.10641).
    """

    of_texts: ClassVar[bool] = True
    by_default: ClassVar[bool] = False  # many regressions, and what it flags is not wrong by itself

    partitions: PositiveInt = 64  # Regressions per step (n).
    train: PositiveInt = 10_000  # Most rows that each is fitted to (m); filtering ends when so few are left.
    slice: PositiveInt = 500  # Most texts that a step removes (k).
    threshold: Annotated[float, Gt(0), Le(1)] = 0.75  # Least share of right predictions to be removed (tau).

    def __call__(self, subject: Subject) -> Found:
        items = [item for item in labelled(subject) if item.text or item.question]
        if len(items) < 30:
            return Found(skipped=f"{len(items)} texts with one of several labels; expected at least 30")
        names, labels = classes_of(items)
        features = subject.embed([item.text or item.question for item in items])
        train, size = min(self.train, len(items) // 10), min(self.slice, max(len(items) // 20, 1))
        removed, score = aflite(
            features, labels, train=train, slice_size=size, threshold=self.threshold,
            partitions=self.partitions, seed=subject.seed, groups=np.array([item.number for item in items]),
        )  # fmt: skip
        flags = []
        for place in np.flatnonzero(removed):
            item = items[place]
            reason = f"label {item.label!r:.40} is predicted from the text alone in {score[place]:.0%} of the trials"
            flags.append(Flag(item.number, item.id, reason, item.part, float(score[place]), "drop"))
        rows: list[list[Any]] = []
        for name, mask in (("all", np.ones(len(items), bool)), ("kept", ~removed)):
            own = np.flatnonzero(mask)
            fold = folds_of([items[place].number for place in own], 5, subject.seed)
            p = cross_fitted(features[own], labels[own], fold, len(names), balanced=True)
            right = p.argmax(axis=1) == labels[own]
            shares = [float(right[labels[own] == k].mean()) for k in np.unique(labels[own])]
            rows.append([name, len(own), float(np.mean(shares)), 1 / len(shares)])
        caption = (
            "How often a new linear model predicts labels it did not see from the text alone, as a mean over labels."
        )
        facts = [f"{int(removed.sum()):,} of {len(items):,} texts are removed."]
        return Found(flags, facts, (Table(("texts", "number", "right", "chance"), rows, caption),))
