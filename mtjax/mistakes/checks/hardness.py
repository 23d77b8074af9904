"""How hard the problems of data are by several measures, easy and hard parts, and labels that no model learns."""

import dataclasses
import math
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Gt, Lt
from jaxtyping import Float

from mtjax.data.selection.hardness import MEASURES, easy_and_hard
from mtjax.io.hashing import random_order
from mtjax.mistakes.checks.base import CHECKS, Check, Found, Subject, labelled
from mtjax.mistakes.checks.confident import Labels
from mtjax.mistakes.checks.labels import classes_of, classifier, text_of
from mtjax.reporting.report import Table
from mtjax.validation import PositiveInt


def model_hardness(
    features: Any, labels: Labels, sizes: tuple[int, ...], bootstraps: int, seed: int
) -> Float[np.ndarray, " N"]:
    """`1 - mean probability of the right label`, over small heads that did not see it.

    For each training size and bootstrap a logistic regression is fitted to as many examples, and predicts the others.
    Labels that are noise are the hardest: no head learns them. NaN for an example that every head saw.
    """
    total, times = np.zeros(len(labels)), np.zeros(len(labels))
    for size in sizes:
        for number in range(bootstraps):
            order = random_order(len(labels), seed, size, number)
            seen, rest = order[:size], order[size:]
            known = np.unique(labels[seen])
            if len(known) < 2 or not len(rest):
                continue
            model = classifier(features[seen], labels[seen])
            p = np.zeros((len(rest), labels.max() + 1))
            p[:, known] = model.predict_proba(features[rest])
            total[rest] += p[np.arange(len(rest)), labels[rest]]
            times[rest] += 1
    return 1 - np.divide(total, times, out=np.full(len(labels), np.nan), where=times > 0)


def supervision_gap_recovered(easy: float, hard: float, unsupervised: float) -> float:
    """How much of the gain from training on hard data is had from easy data, all tested on hard data.

    Formula: `(easy - unsupervised) / (hard - unsupervised)` of accuracies; 1: easy data are as good, 0: no gain. NaN
    where hard data bring no gain.

    >>> supervision_gap_recovered(0.7, 0.8, 0.4)
    0.75
    """
    gap = hard - unsupervised
    return round((easy - unsupervised) / gap, 12) if gap > 0 else math.nan


@CHECKS.register("hardness")
@dataclasses.dataclass(frozen=True)
class Hardness(Check):
    """How hard the problems are, by measures that the records allow, with the limits of an easy and a hard part.

    Measures: words of the question, characters of the answer, words and lines of the first right solution, a recorded
    difficulty, the share of failed samples; and, where there are labels, how badly small linear models learn them. All
    numbers are in `hardness.jsonl`; the selection `hardness` makes the parts. Nothing is flagged.

    Source: Hase et al., "The Unreasonable Effectiveness of Easy Training Data for Hard Tasks", 2024 (arXiv 2401.06751).
    """

    by_default: ClassVar[bool] = False

    share: Annotated[float, Gt(0), Lt(0.5)] = 0.3  # Share of the easy, and of the hard part.
    sizes: tuple[int, ...] = (5, 10, 20, 40, 80)  # Examples that the small models are fitted to.
    bootstraps: PositiveInt = 10  # Small models of each size.

    def __call__(self, subject: Subject) -> Found:
        problems = [
            (number, problem.id, {name: measure(problem) for name, measure in MEASURES.items()})
            for number, problem in enumerate(subject.read())
        ]
        records: list[dict[str, Any]] = [
            {"number": number, "id": id} | {name: value for name, value in found.items() if value is not None}
            for number, id, found in problems
        ]
        columns = {name: [found[name] for _, _, found in problems] for name in MEASURES}
        if items := labelled(subject):
            _, labels = classes_of(items)
            features = subject.embed([text_of(item) for item in items])
            sizes = tuple(size for size in self.sizes if size < len(items))
            hard = model_hardness(features, labels, sizes, self.bootstraps, subject.seed)
            by_number: dict[int, list[float]] = {}
            for item, value in zip(items, hard, strict=True):
                by_number.setdefault(item.number, []).append(float(value))
            means = {number: float(np.mean(values)) for number, values in by_number.items()}
            columns["model"] = [means.get(number) for number, _, _ in problems]
            for record in records:
                if math.isfinite(mean := means.get(record["number"], math.nan)):
                    record["model"] = round(mean, 6)
        rows: list[list[Any]] = []
        for name, values in columns.items():
            numbers = np.array([math.nan if value is None else value for value in values], np.float64)
            if np.isfinite(numbers).any():
                easy, hard_part = easy_and_hard(numbers, self.share)
                ends = [float(numbers[easy].max()) if easy.any() else None]
                ends += [float(numbers[hard_part].min()) if hard_part.any() else None]
                rows.append([name, float(np.nanmedian(numbers)), *ends, int(easy.sum()), int(hard_part.sum())])
        heads = ("measure", "median", "easy: at most", "hard: at least", "easy", "hard")
        return Found((), [f"{len(problems):,} problems."], (Table(heads, rows),), records=records)
