"""Labels that are probably wrong, by confident learning."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float

from mtjax.mistakes.checks.answers import unconfirmed
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Item, Subject, folds_of, labelled
from mtjax.mistakes.checks.confident import Labels as Classes
from mtjax.mistakes.checks.confident import Prune, confident_joint, label_errors, margins
from mtjax.reporting.report import Table


def classifier(features: Any, labels: Classes, balanced: bool = False) -> Any:
    """A logistic regression (L2 penalty of strength 0.1) fitted to rows of at least two classes, `balanced` or not."""
    from sklearn.linear_model import LogisticRegression

    solver: Any = "liblinear" if len(np.unique(labels)) == 2 else "lbfgs"  # the first is faster, for two classes alone
    weights: Any = "balanced" if balanced else None
    made = LogisticRegression(C=10.0, max_iter=200, solver=solver, random_state=0, class_weight=weights)
    return made.fit(features, labels)


def cross_fitted(
    features: Any, labels: Classes, fold: np.ndarray, classes: int, balanced: bool = False
) -> Float[np.ndarray, "N K"]:
    """Probability of each class for every row, by a logistic regression that saw the rows of the other folds alone."""
    out = np.full((len(labels), classes), 1 / classes)
    for one in np.unique(fold):
        seen, here = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        known = np.unique(labels[seen])
        out[here] = 0
        if len(known) < 2:
            out[np.ix_(here, known)] = 1
            continue
        model = classifier(features[seen], labels[seen], balanced)
        out[np.ix_(here, known)] = model.predict_proba(features[here])
    return out


def text_of(item: Item) -> str:
    """The text that an item is judged by: what is asked, and the labelled text after it."""
    return f"{item.question}\n{item.text}".strip()


def separation(labels: Classes, p: Float[np.ndarray, "N K"]) -> float:
    """Mean over the classes of the area under the ROC curve, one class against the others; 0.5 is chance."""
    from sklearn.metrics import roc_auc_score

    areas = [roc_auc_score(labels == k, p[:, k]) for k in range(p.shape[1]) if 0 < (labels == k).sum() < len(labels)]
    return float(np.mean(areas)) if areas else 0.5


def classes_of(items: Sequence[Item]) -> tuple[list[str], Classes]:
    """The names of the labels, sorted, and the number of each item's own."""
    names = sorted({item.label for item in items})
    place = {name: number for number, name in enumerate(names)}
    return names, np.array([place[item.label] for item in items], np.int64)


@CHECKS.register("labels")
@dataclasses.dataclass(frozen=True)
class Labels(Check):
    """Labels that are probably wrong: right and wrong texts, or answers that are one of a few classes.

    Probabilities are those of a logistic regression on features of question and text (hashed words, or hidden states of
    `--model`), fitted `folds` times to the other folds; texts of one problem are in one fold. `mtjax/mistakes/checks/
    confident.py` has the formulas. Nothing is flagged where the classifier is hardly better than chance, below
    `least_area`: its probabilities then say nothing about labels.

    Source: Northcutt, Athalye and Mueller, "Pervasive Label Errors in Test Sets Destabilize Machine Learning
    Benchmarks", 2021 (arXiv 2103.14749).
    """

    of_texts: ClassVar[bool] = True

    confirm: bool = True  # Do not flag a right or wrong text whose label its final answer confirms.
    prune: Prune = "by_noise_rate"  # How labels are chosen from the joint; see `label_errors`.
    folds: Annotated[int, Ge(2)] = 5  # Folds of the cross-validation.
    least_area: Annotated[float, Ge(0.5), Le(1)] = 0.7
    """Least area under the ROC curve of the classifier, out of sample, to believe it."""

    def __call__(self, subject: Subject) -> Found:
        items = labelled(subject)
        if not items:
            return Found(skipped="there are no right and wrong texts, and no small set of answers, to be labels")
        names, labels = classes_of(items)
        fold = folds_of([item.number for item in items], self.folds, subject.seed)
        p = cross_fitted(subject.embed([text_of(item) for item in items]), labels, fold, len(names))
        area = separation(labels, p)
        joint = confident_joint(labels, p)
        facts = [
            f"{len(items):,} labels of {len(names)} classes. A classifier that did not see them tells them apart "
            f"with an area under the ROC curve of {area:.3f}."
        ]
        if area < self.least_area:
            facts.append(
                f"That is below {self.least_area:g} (`--labels.least_area`), so no label is flagged: give a model "
                "whose features tell more (`--model`)."
            )
            return Found((), facts)
        facts.append(f"Estimated share of wrong labels: {joint.noise:.1%}.")
        wrong = label_errors(labels, p, self.prune)
        margin, best = margins(labels, p), p.argmax(axis=1)
        flags = []
        for place in np.flatnonzero(wrong):
            item, to = items[place], names[best[place]]
            reason = f"label {item.label!r:.40} is probably {to!r:.40} (margin {margin[place]:+.2f})"
            fix: Any = "answer" if item.part == "answer" else "flip"
            flags.append(Flag(item.number, item.id, reason, item.part, -float(margin[place]), fix, to))
        if self.confirm and (others := unconfirmed(subject, flags)) != flags:
            facts.append(f"The final answer confirms {len(flags) - len(others):,} of the suspicious labels.")
            flags = others
        rows: list[list[Any]] = [[name, *map(float, row)] for name, row in zip(names, joint.joint, strict=True)]
        caption = "Estimated joint distribution: rows are labels as given, columns as they would be right."
        return Found(flags, facts, (Table(("label", *names), rows, caption),))
