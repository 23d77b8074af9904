"""What can be counted in a text without understanding it, and a balance that keeps edits from showing in the counts."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping

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


def first_difference(a: str, b: str) -> int:
    """The place of the first character in which two texts differ; the shorter length where one begins the other."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


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
    pairs: int = 0
    """How many pairs that are."""

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
