"""Leakage of the surface: features of texts, a balance of edits, and how well a classifier tells sides apart."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.data.mistake_record import Mistake
from mtjax.mistakes.filters import first_difference

OPERATORS = "+-*/x×÷=%"
"""Characters that count as operators; other dashes count as "-"."""

_PIECES = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_OPERATOR = re.compile(r"(?<![A-Za-z])x(?![A-Za-z])|[-+*/×÷=%]")


def surface(text: str, difference: int) -> dict[str, dict[str, float]]:
    """The surface features of a text, by name; each is a column or several.

    Args:
        text: one side of a pair.
        difference: the place of the first character in which it differs from the other side.

    Returns:
        characters, tokens (runs of letters, runs of digits, other signs one by one), lines, digits, numbers, last_digit
        (one column per digit), operators (one per operator), difference_position (0 to 1, of the text's own length),
        operator_there and operator_before (one column per operator: the first at or behind the difference, and the
        last in front of it).
    """
    plain = text.replace("–", "-").replace("−", "-")
    digits = re.findall(r"[0-9]", plain)
    found = _OPERATOR.findall(plain)
    behind, before = _OPERATOR.search(plain, difference), _OPERATOR.findall(plain[:difference])
    counts = {
        "characters": len(text),
        "tokens": len(_PIECES.findall(text)),
        "lines": text.count("\n") + 1,
        "digits": len(digits),
        "numbers": len(re.findall(r"[0-9]+", plain)),
    }
    return {name: {"": float(count)} for name, count in counts.items()} | {
        "last_digit": {digits[-1]: 1.0} if digits else {},
        "operators": {sign: float(count) for sign, count in Counter(found).items()},
        "difference_position": {"": difference / max(len(text), 1)},
        "operator_there": {behind[0] if behind else "none": 1.0},
        "operator_before": {before[-1] if before else "none": 1.0},
    }


FEATURES = tuple(surface("", 0))
"""Names of the features, in order."""


_WORDS, _DIGIT, _NUMBER = re.compile(r"[A-Za-z]{2,}"), re.compile(r"[0-9]"), re.compile(r"[0-9]+")


def difference(right: str, wrong: str) -> dict[str, float]:
    """By how much the wrong side differs from the right one in each count; counts that are equal are left out.

    Beside the features of `surface` it counts every sign, and words as a whole. Large differences count as three, so
    that one long edit does not make up for many short ones in the other direction.
    """
    place = first_difference(right, wrong)
    left = place
    while left and right[left - 1] not in "\n ":
        left -= 1
    a, b = right[left:], wrong[left:]
    out = {sign: float(n) for sign, n in _minus(Counter(b), Counter(a)).items() if not sign.isalpha()}
    out["characters"] = float(len(b) - len(a))
    for name, pattern in (("words", _WORDS), ("digits", _DIGIT), ("numbers", _NUMBER)):
        out[name] = float(len(pattern.findall(b)) - len(pattern.findall(a)))
    for text, sign in ((a, -1.0), (b, 1.0)):
        last = re.search(r"[0-9](?=[^0-9]*$)", text)
        there = _OPERATOR.search(text, place - left)
        for key in (f"last {last[0] if last else ''}", f"there {there[0] if there else ''}"):
            out[key] = out.get(key, 0.0) + sign
    return {key: max(-3.0, min(3.0, n)) for key, n in out.items() if n}


def _minus(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) - b.get(key, 0) for key in a.keys() | b.keys()}


@dataclasses.dataclass
class Balance:
    """Sums of `difference` over the pairs kept so far; of several edits, the one that evens them out goes first."""

    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    """What the wrong sides have more of than the right ones, so far."""
    pairs: int = 0  # How many pairs that are.

    def burden(self, change: Mapping[str, float]) -> float:
        """How much an edit adds to what is out of balance: the scalar product with the sums. Lower is better."""
        return math.fsum(self.sums.get(key, 0.0) * n for key, n in change.items())

    def allows(self, change: Mapping[str, float]) -> bool:
        """Whether no sum would grow beyond one for every 20 pairs, and 20 more."""
        most = 20 + self.pairs / 20
        return all(
            abs(self.sums.get(key, 0.0) + n) <= max(most, abs(self.sums.get(key, 0.0))) for key, n in change.items()
        )

    def add(self, change: Mapping[str, float]) -> None:
        """Take in a pair that was kept."""
        self.pairs += 1
        for key, n in change.items():
            self.sums[key] = self.sums.get(key, 0.0) + n


FOLDS = 5
"""Number of folds of cross-validation, by problem."""

RIDGE = 1e-3
"""Strength of the L2 penalty of the logistic regression, relative to the mean loss."""

LIMIT = 0.6
"""Highest share that a single feature should reach."""


class Leak(NamedTuple):
    """Accuracy of a classifier on unseen problems; 0.5 is chance.

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
    """The leak of each feature of `mtjax.mistakes.leakage.FEATURES`, and of "all" together.

    Args:
        pairs: (problem, chosen, rejected). The pairs of one problem are in the same fold.
        folds: number of folds.

    Returns:
        One `Leak` per feature; empty if there are fewer than `folds` problems.
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.model_selection import GroupKFold

    groups = [group for group, _, _ in pairs]
    if len(set(groups)) < folds:
        return {}
    sides: list[list[dict[str, float]]] = [[], []]
    for _, chosen, rejected in pairs:
        place = first_difference(chosen, rejected)
        for side, text in zip(sides, (chosen, rejected), strict=True):
            cells = surface(text, place).items()
            side.append({f"{name} {key}": n for name, columns in cells for key, n in columns.items()})
    vectorizer = DictVectorizer(sparse=False).fit(sides[0] + sides[1])
    table = np.stack([vectorizer.transform(side) for side in sides])
    features = np.array([column.partition(" ")[0] for column in vectorizer.get_feature_names_out()])
    parts = list(GroupKFold(folds).split(groups, groups=groups))
    return {name: _leak(table[:, :, (features == name) | (name == "all")], parts) for name in (*FEATURES, "all")}


def _leak(table: Float[np.ndarray, "2 P K"], parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Leak:
    """The leak of some columns; `parts` are the numbers of the pairs to fit on and to test on, for each fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if not table.size:  # no text has any of these features
        return Leak(0.5, 0.5)
    alone = paired = 0.0
    for train, test in parts:
        scaler = StandardScaler().fit(np.concatenate(table[:, train]))
        chosen, rejected = (scaler.transform(side) for side in table)
        model = LogisticRegression(C=1 / (RIDGE * 2 * len(train)))
        labels = np.repeat([0, 1], len(train))
        model.fit(np.concatenate([chosen[train], rejected[train]]), labels)
        alone += _share(-model.decision_function(chosen[test])) + _share(model.decision_function(rejected[test]))
        change = rejected - chosen  # a model of pairs has no intercept: exchanging the sides exchanges the labels
        model.set_params(fit_intercept=False).fit(np.concatenate([-change[train], change[train]]), labels)
        paired += 2 * _share(model.decision_function(change[test]))
    return Leak(alone / (2 * table.shape[1]), paired / (2 * table.shape[1]))


def _share(score: Float[np.ndarray, " N"]) -> float:
    """The number of positive scores; scores that are 0 up to rounding count half."""
    return float((score > 1e-9).sum() + 0.5 * (np.abs(score) <= 1e-9).sum())
