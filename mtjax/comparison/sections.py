"""Sections that several reports share: calibration, and which errors went away and which appeared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mtjax.comparison.calibration import calibration_error, reliability
from mtjax.comparison.lab import Measured
from mtjax.comparison.pictures import reliability_plot
from mtjax.evaluation.bootstrap import difference_interval, mean_interval
from mtjax.evaluation.report import Section, Table, section

RIGHT = "none"
"""The kind of a solution without error."""

CALIBRATION = """\
Confidence is the probability that the model gives its whole greedy solution; a calibrated model of confidence 0.8 is
right in 8 of 10 such solutions. The error is binned (10 bins of equal width, all seeds together) and is above 0 by
chance alone in small bins."""


def calibration_section(measured: Mapping[str, Sequence[Measured]]) -> tuple[Section, dict[str, dict[str, Any]]]:
    """Confidence against correctness of each arm, `start` first, and the numbers for `results.json`."""
    rows: list[tuple[Any, ...]] = []
    numbers: dict[str, dict[str, Any]] = {}
    binned = {}
    for name, runs in measured.items():
        sure, right = (np.stack([getattr(run, key) for run in runs]) for key in ("confidence", "greedy_right"))
        binned[name] = reliability(sure.ravel(), right.ravel())
        error, over = calibration_error(binned[name]), difference_interval(sure, right)
        rows.append((name, mean_interval(sure), mean_interval(right), over, error))
        numbers[name] = {
            "confidence": rows[-1][1],
            "accuracy": rows[-1][2],
            "confidence_less_accuracy": over,
            "calibration_error": error,
            "bins": binned[name],
        }
    table = Table(("arm", "confidence", "accuracy", "confidence less accuracy", "calibration error"), tuple(rows))
    picture = reliability_plot("calibration", binned, caption="Share right over confidence, by bins of confidence.")
    return section("Is it as right as it is sure?", CALIBRATION, table, picture), numbers


ERRORS = """\
What is wrong first in a solution, as the exact step checker says: *calculation* is a false equation, *operand* or
*operator* another one than the question and the steps so far give, *missing* and *extra* lines too few or too many,
*format* a line that cannot be read, *answer* another number than the last step's.""".replace("*", "`")


def errors_section(
    start: Measured, arms: Mapping[str, Sequence[Measured]]
) -> tuple[Section, dict[str, dict[str, dict[str, Any]]]]:
    """Which kinds of error went away and which appeared, by arm, and the numbers for `results.json`.

    For each kind: the change of its share among sampled solutions (paired with the start, by problem), and of greedy
    solutions how many with it became right, and how many that were right have it now (per seed).
    """
    kinds = kinds_in([start, *(run for runs in arms.values() for run in runs)])
    numbers: dict[str, dict[str, dict[str, Any]]] = {}
    for name, runs in arms.items():
        numbers[name] = {}
        for kind in kinds:
            before, after = shares([start], kind), shares(runs, kind)
            away, new = moves(start, runs, kind)
            change = difference_interval(after, before)
            numbers[name][kind] = {"share": float(after.mean()), "change": change, "mended": away, "new": new}
    first: tuple[Any, ...] = ("start", *(float(shares([start], kind).mean()) for kind in kinds))
    changes: list[tuple[Any, ...]] = [(name, *(own[kind]["change"] for kind in kinds)) for name, own in numbers.items()]
    sampled = Table(
        ("arm", *kinds),
        (first, *changes),
        "Sampled solutions: share with this first error at the start, and its change from there in each arm, with 95 % "
        "bootstrap intervals over problems.",
    )
    told = lambda own: f"-{own['mended']:.1f} +{own['new']:.1f}"
    greedy = Table(
        ("arm", *kinds),
        [(name, *(told(own[kind]) for kind in kinds)) for name, own in numbers.items()],
        f"Greedy solutions of {len(start.greedy_kinds)} problems, per seed: how many with this error became free of "
        "errors (-), and how many that were free of errors have it now (+).",
    )
    return Section("Which errors went away, which appeared", ERRORS, (sampled, greedy)), numbers


def kinds_in(measured: Sequence[Measured]) -> list[str]:
    """The kinds of error that occur in any solution, the most frequent first."""
    found = Counter(kind for run in measured for own in (*run.kinds, run.greedy_kinds) for kind in own)
    del found[RIGHT]
    return sorted(found, key=lambda kind: (-found[kind], kind))


def shares(runs: Sequence[Measured], kind: str) -> Float[np.ndarray, "S N"]:
    """Share of each problem's samples whose first error is of a kind."""
    return np.array([[np.mean([k == kind for k in own]) for own in run.kinds] for run in runs])


def moves(before: Measured, runs: Sequence[Measured], kind: str) -> tuple[float, float]:
    """How many greedy solutions with an error of this kind became free of errors, and how many went the other way.

    Both are means over the runs; errors that became other errors are in neither.
    """
    pairs = [list(zip(before.greedy_kinds, run.greedy_kinds, strict=True)) for run in runs]
    mended = np.mean([own.count((kind, RIGHT)) for own in pairs])
    return float(mended), float(np.mean([own.count((RIGHT, kind)) for own in pairs]))
