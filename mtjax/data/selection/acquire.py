"""Keep the problems whose labels would teach most: acquisition by entropy, margin or disagreement."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from mtjax.data.answers import vote
from mtjax.data.problem import Problem
from mtjax.data.selection.base import SELECTIONS, Selected, Selection
from mtjax.data.sources.mined import read_mined, solutions_file
from mtjax.errors import InputError
from mtjax.io.containers import content_of
from mtjax.io.hashing import digest
from mtjax.validation import PositiveInt, check_types

By = Literal["entropy", "margin", "disagreement"]


def informativeness(p: Float[np.ndarray, "M K"], by: By) -> float:
    """How much the label of one problem would tell; higher is more.

    `p` has the probabilities of K labels by each of M models. With `q` their mean: entropy is `-sum q log q`; margin is
    `1 - (q1 - q2)` of the two most likely labels; disagreement is the entropy of q minus the mean entropy of the models
    (the information that the label has about which model is right).

    >>> informativeness(np.array([[0.5, 0.5]]), "margin"), informativeness(np.array([[1.0, 0.0]]), "entropy")
    (1.0, 0.0)

    Source: Settles, "Active Learning Literature Survey", 2009; Houlsby et al., 2011 (arXiv 1112.5745) for disagreement.
    """
    entropy = lambda rows: -np.sum(np.where(rows > 0, rows * np.log(np.where(rows > 0, rows, 1)), 0), axis=-1)
    mean = p.mean(axis=0)
    if by == "margin":
        top = np.sort(mean)[::-1]
        return float(1 - (top[0] - (top[1] if len(top) > 1 else 0)))
    value = entropy(mean) - (entropy(p).mean() if by == "disagreement" else 0.0)
    return float(abs(value)) if abs(value) < 1e-12 else float(value)


@SELECTIONS.register("acquire")
@dataclasses.dataclass(frozen=True)
class Acquire(Selection):
    """Keep the `budget` problems about whose answers sampled solutions are least sure, to label or to train on next.

    The probabilities of the answers to a problem are their shares among the samples of each file of mined solutions
    (`python -m mtjax.mine`); several files, of several models or checkpoints, are a committee. Problems without a
    sample with an answer come last; of equal ones the earlier come first. The right answers are not looked at. The
    ranking is that of the problems in the files, so that selecting again keeps all.

    Source: Zhang, Katz-Samuels and Jamieson, "Learning to Actively Learn", 2020 (arXiv 2010.15382), whose baselines
    these are; its learned policy is not here.
    """

    mined: tuple[str, ...]  # Files or folders of mined solutions of the problems.
    budget: PositiveInt = 1000  # Problems to keep.
    by: By = "entropy"  # How they are ranked.

    def __post_init__(self) -> None:
        check_types(self)
        if not self.mined:
            raise InputError("acquire.mined is empty; give files of mined solutions, made by python -m mtjax.mine")
        if self.by == "disagreement" and len(self.mined) < 2:
            raise InputError("acquire.by='disagreement' compares models; give at least two files of mined solutions")

    def __call__(self, problems: Sequence[Problem], key: int) -> Selected:
        counts: dict[str, list[Counter[object]]] = {}
        for number, path in enumerate(self.mined):
            for mined in read_mined(path):
                own = counts.setdefault(mined.id, [Counter() for _ in self.mined])[number]
                for solution in mined.solutions:
                    if (answer := vote(solution.text)) is not None:
                        own[answer] += solution.count
        scores = {}
        for name, models in counts.items():
            answers = list(dict.fromkeys(answer for own in models for answer in own))
            rows = [[own[answer] / own.total() for answer in answers] for own in models if own.total()]
            scores[name] = informativeness(np.array(rows), self.by) if rows else -1.0
        ranked = sorted(scores, key=lambda name: -scores[name])
        if problems and not any(problem.id in scores for problem in problems):
            raise InputError(f"no problem has samples in {', '.join(self.mined)}; mine the same data")
        chosen = set(ranked[: self.budget])
        kept = [problem for problem in problems if problem.id in chosen]
        return self.keep(kept, problems, f"not among the {self.budget:,} with the highest {self.by}")

    def fingerprint(self) -> str:
        content = [b"".join(content_of(solutions_file(path))) for path in self.mined]
        return digest(type(self).__name__, self.budget, self.by, *content)
