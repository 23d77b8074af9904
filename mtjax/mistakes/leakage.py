"""Leakage of the surface: features of texts, a balance of edits, and how well a classifier tells sides apart."""

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mtjax.data.answers import LONGEST
from mtjax.data.mistake_record import Mistake
from mtjax.mistakes.filters import first_difference
from mtjax.mistakes.text.equations import equations
from mtjax.mistakes.text.lexer import number_of, numbers_in

_PIECES = re.compile(r"[A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]")
_OPERATOR = re.compile(r"(?<![A-Za-z])x(?![A-Za-z])|[-+*/×÷=%]")
_WORDS, _DIGIT, _NUMBER = re.compile(r"[A-Za-z]{2,}"), re.compile(r"[0-9]"), re.compile(r"[0-9]+")


def surface(text: str, difference: int, rest: str = "") -> dict[str, dict[str, float]]:
    """The surface features of one side of a pair, by name; each has one column or several.

    They are equation_check (false equations), magnitude (log10 of 1 + the largest, the last and the mean number),
    rest_length (characters of `rest`, how the solution continues), characters, tokens (runs of letters, runs of digits,
    other signs one by one), lines, digits, numbers, last_digit (one column per digit), operators (one per operator),
    difference_position (0 to 1, of the text's length), operator_there and operator_before (one per operator: the first
    from the difference on, and the last before it). `difference` is the place of the first character in which the text
    differs from the other side.
    """
    plain = text.replace("–", "-").replace("−", "-")
    digits = _DIGIT.findall(plain)
    sizes = [math.log10(1 + number_of(token)) for token in numbers_in(text)] or [0.0]
    there, before = _OPERATOR.search(plain, difference), _OPERATOR.findall(plain[:difference])
    return {
        "equation_check": {"": float(sum(equation.false for equation in equations(text)))},
        "magnitude": {"largest": max(sizes), "last": sizes[-1], "mean": math.fsum(sizes) / len(sizes)},
        "rest_length": {"": float(len(rest))},
        "characters": {"": float(len(text))},
        "tokens": {"": float(len(_PIECES.findall(text)))},
        "lines": {"": float(text.count("\n") + 1)},
        "digits": {"": float(len(digits))},
        "numbers": {"": float(len(_NUMBER.findall(plain)))},
        "last_digit": {digits[-1]: 1.0} if digits else {},
        "operators": {sign: float(count) for sign, count in Counter(_OPERATOR.findall(plain)).items()},
        "difference_position": {"": difference / max(len(text), 1)},
        "operator_there": {there[0] if there else "none": 1.0},
        "operator_before": {before[-1] if before else "none": 1.0},
    }


FEATURES = tuple(surface("", 0))  # Names of the features, in order.


def difference(right: str, wrong: str) -> dict[str, float]:
    """By how much the wrong side differs from the right one in each count, without counts that are equal.

    Besides the features of `surface` it counts every sign, and complete words. Differences are clipped at three, so
    that one long edit does not make up for many short ones in the other direction.
    """
    place = first_difference(right, wrong)
    left = max(right.rfind(" ", 0, place), right.rfind("\n", 0, place)) + 1
    a, b = right[left:], wrong[left:]
    signs = Counter(b)
    signs.subtract(a)
    out = {sign: float(n) for sign, n in signs.items() if not sign.isalpha()}
    out["characters"] = float(len(b) - len(a))
    out["magnitude"] = _magnitude(b) - _magnitude(a)
    for name, pattern in (("words", _WORDS), ("digits", _DIGIT), ("numbers", _NUMBER)):
        out[name] = float(len(pattern.findall(b)) - len(pattern.findall(a)))
    for text, sign in ((a, -1.0), (b, 1.0)):
        digits, there = _DIGIT.findall(text), _OPERATOR.search(text, place - left)
        for key in (f"last {digits[-1] if digits else ''}", f"there {there[0] if there else ''}"):
            out[key] = out.get(key, 0.0) + sign
    return {key: max(-3.0, min(3.0, n)) for key, n in out.items() if n}


def _magnitude(text: str) -> float:
    """The sum of the sizes of a text's numbers."""
    size = lambda number: math.log10(1 + int(number)) if len(number) <= LONGEST else float(len(number))
    return math.fsum(map(size, _NUMBER.findall(text)))


FALSE = "false equation"  # The change of an edit that leaves a false equation.


@dataclasses.dataclass
class Balance:
    """Sums of `difference` over the pairs kept so far; of several edits, the one that balances them best goes first.

    A false equation cannot be balanced, because no edit makes one true: at most a share of the pairs has one.
    """

    false_share: float = 1.0  # Largest share of pairs whose wrong side has a false equation.
    sums: dict[str, float] = dataclasses.field(default_factory=lambda: defaultdict(float))  # By count.
    pairs: int = 0  # Number of pairs so far.

    def burden(self, change: Mapping[str, float]) -> float:
        """How much an edit adds to the imbalance: the scalar product with the sums. Lower is better."""
        return math.fsum(self.sums[key] * n for key, n in change.items() if key != FALSE)

    def allows(self, change: Mapping[str, float]) -> bool:
        """Whether no sum would grow beyond one for every 20 pairs, plus 20."""
        most = 20 + self.pairs / 20
        sums = ((self.sums[key], n) for key, n in change.items() if key != FALSE)
        return all(abs(before + n) <= max(most, abs(before)) for before, n in sums)

    def has_room_for(self, change: Mapping[str, float]) -> bool:
        """Whether the edit leaves every equation true, or the share of pairs with a false one is not used up."""
        return FALSE not in change or self.sums[FALSE] < self.false_share * (self.pairs + 1)

    def add(self, change: Mapping[str, float]) -> None:
        """Add a pair that was kept."""
        self.pairs += 1
        for key, n in change.items():
            self.sums[key] += n


FOLDS = 5  # Folds of the cross-validation.
RIDGE = 1e-3  # Strength of the L2 penalty of the logistic regression, relative to the mean loss.
LIMIT = 0.6  # Highest share that a single feature should reach.


class Leak(NamedTuple):
    """Accuracy of a classifier on unseen problems; 0.5 is chance."""

    alone: float  # Given one text, whether it is chosen or rejected.
    paired: float  # Given both, which is the rejected one; ties count half.


class Sides(NamedTuple):
    """A pair to measure."""

    problem: str  # Id of the problem; its pairs are in the same fold.
    chosen: str  # The right side.
    rejected: str  # The wrong side.
    chosen_rest: str = ""  # How the right solution continues; "" on both sides if one of them is not known.
    rejected_rest: str = ""  # How the wrong one does.


def pairs_in(mistakes: Iterable[Mistake], kind: str = "step") -> list[Sides]:
    """The mistakes of one kind that have both sides; of complete solutions the rest is what follows the edited line."""
    out = []
    for m in mistakes:
        rests = ("", "")
        if kind == "solution":
            right, wrong = m.right_step, m.wrong_step
            end = right.find("\n", first_difference(right, wrong)), wrong.find("\n", first_difference(right, wrong))
            rests = (right[end[0] :] if end[0] >= 0 else "", wrong[end[1] :] if end[1] >= 0 else "")
        elif m.wrong_rest or m.wrong_answer:
            rests = (m.right_rest, m.wrong_rest)
        if m.kind == kind and m.right_step:
            out.append(Sides(m.problem_id, m.right_step, m.wrong_step, *rests))
    return out


def measure(pairs: Iterable[Sequence[str]]) -> dict[str, Leak]:
    """The leak of each of `FEATURES`, and of "all" together; empty if there are fewer than `FOLDS` problems.

    `pairs` are `Sides`, or tuples (problem, chosen, rejected).
    """
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.model_selection import GroupKFold

    sides_of = [Sides(*pair) for pair in pairs]
    groups = [pair.problem for pair in sides_of]
    if len(set(groups)) < FOLDS:
        return {}
    sides: list[list[dict[str, float]]] = [[], []]
    for _, chosen, rejected, *rests in sides_of:
        place = first_difference(chosen, rejected)
        for side, text, rest in zip(sides, (chosen, rejected), rests, strict=True):
            cells = surface(text, place, rest).items()
            side.append({f"{name} {key}": n for name, columns in cells for key, n in columns.items()})
    vectorizer = DictVectorizer(sparse=False).fit(sides[0] + sides[1])
    table = np.stack([vectorizer.transform(side) for side in sides])
    features = np.array([column.partition(" ")[0] for column in vectorizer.get_feature_names_out()])
    parts = list(GroupKFold(FOLDS).split(groups, groups=groups))
    return {name: _leak(table[:, :, (features == name) | (name == "all")], parts) for name in (*FEATURES, "all")}


def _leak(table: Float[np.ndarray, "2 P K"], parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Leak:
    """The leak of some columns; `parts` are, for each fold, the numbers of the pairs to fit on and to test on."""
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
