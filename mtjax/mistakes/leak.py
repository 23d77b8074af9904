"""How well the surface of a text tells a rejected side from a chosen one: logistic regression on counts.

A model that can tell by length or by the last digit learns that, and not what is wrong (specs, core-methods 2g).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.mistake_record import Mistake
from mtjax.io.hashing import unit
from mtjax.mistakes.surface import FEATURES, first_difference, surface

FOLDS = 5
"""Parts of the problems; each is judged by a model of the others."""

LIMIT = 0.6
"""A single feature should not do better than this."""


class Leak(NamedTuple):
    """How often a classifier is right on problems it has not seen; 0.5 is chance.

    Attributes:
        alone: given one text, whether it is chosen or rejected.
        paired: given both, which is the rejected one; ties count half.
    """

    alone: float
    paired: float


def pairs_in(mistakes: Iterable[Mistake], kind: str = "step") -> list[tuple[str, str, str]]:
    """(problem, chosen, rejected) of the mistakes of one kind that have both sides."""
    return [(m.problem_id, m.right_step, m.wrong_step) for m in mistakes if m.kind == kind and m.right_step]


def measure(pairs: Sequence[tuple[str, str, str]], folds: int = FOLDS) -> dict[str, Leak]:
    """The leak of each feature of `mtjax.mistakes.surface.FEATURES`, and of "all" together.

    Args:
        pairs: (problem, chosen, rejected). Folds are made of whole problems, by hash of their name.
        folds: how many.

    Returns:
        One `Leak` per feature; empty where fewer than `folds` problems are left to judge.
    """
    if len({group for group, _, _ in pairs}) < folds:
        return {}
    columns: dict[tuple[str, str], int] = {}
    rows = [[], []]  # type: list[list[dict[tuple[str, str], float]]]
    for _, chosen, rejected in pairs:
        place = first_difference(chosen, rejected)
        for side, text in enumerate((chosen, rejected)):
            row = {(name, key): n for name, cells in surface(text, place).items() for key, n in cells.items()}
            rows[side].append(row)
            for cell in row:
                columns.setdefault(cell, len(columns))
    table = np.zeros((2, len(pairs), len(columns)))
    for side in (0, 1):
        for number, row in enumerate(rows[side]):
            table[side, number, [columns[cell] for cell in row]] = list(row.values())
    fold = np.array([int(unit("leak", group) * folds) for group, _, _ in pairs])
    out = {}
    for name in (*FEATURES, "all"):
        chosen_columns = [n for (feature, _), n in columns.items() if name in (feature, "all")]
        out[name] = _leak(table[:, :, chosen_columns], fold)
    return out


def _leak(table: Float[np.ndarray, "2 P K"], fold: Int[np.ndarray, " P"]) -> Leak:
    if not table.size:  # no text has anything of it
        return Leak(0.5, 0.5)
    alone = paired = 0.0
    for held in np.unique(fold):
        train, test = table[:, fold != held], table[:, fold == held]
        both = train.reshape(-1, table.shape[2])
        mean, scale = both.mean(0), both.std(0)
        scale[scale == 0] = 1
        x = np.concatenate([(both - mean) / scale, np.ones((len(both), 1))], 1)
        labels = np.repeat([0.0, 1.0], train.shape[1])
        weights = fit(x, labels)
        score = (test - mean) / scale @ weights[:-1] + weights[-1]
        alone += _share(-score[0]) + _share(score[1])
        step = (train[1] - train[0]) / scale
        direction = fit(step, np.ones(len(step)))
        paired += 2 * _share((test[1] - test[0]) / scale @ direction)
    return Leak(alone / (2 * len(fold)), paired / (2 * len(fold)))


def _share(score: Float[np.ndarray, " N"]) -> float:
    """How many scores are positive; those that are 0 up to rounding count half."""
    return float((score > 1e-9).sum() + 0.5 * (np.abs(score) <= 1e-9).sum())


def fit(
    x: Float[np.ndarray, "N K"], labels: Float[np.ndarray, " N"], ridge: float = 1e-3, steps: int = 30
) -> Float[np.ndarray, " K"]:
    """Weights of a logistic regression of `labels` (0 or 1) on `x`, by Newton's method.

    Minimises the mean cross-entropy plus `ridge / 2` times the squared weights; there is no intercept but a column of
    ones in `x`.
    """
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        probability = 0.5 * (1 + np.tanh(x @ weights / 2))
        gradient = x.T @ (probability - labels) / len(x) + ridge * weights
        curvature = (x * (probability * (1 - probability))[:, None]).T @ x / len(x) + ridge * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    return weights
