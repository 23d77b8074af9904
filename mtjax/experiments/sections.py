"""Sections that several reports share: calibration, and which errors went away and which appeared."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtjax.evaluation.metrics.calibration import calibration_error, reliability
from mtjax.evaluation.transitions import RIGHT, transitions
from mtjax.experiments.results import Measured
from mtjax.reporting.intervals import difference_interval, mean_interval
from mtjax.reporting.plots import Curve, reliability_plot
from mtjax.reporting.report import Section, Table, section

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
    curves = {arm: Curve([b.confidence for b in bins], [b.accuracy for b in bins]) for arm, bins in binned.items()}
    picture = reliability_plot("calibration", curves, caption="Share right over confidence, by bins of confidence.")
    return section("Is it as right as it is sure?", CALIBRATION, table, picture), numbers


ERRORS = """\
What is wrong first in a solution, by the exact checker: a type of error such as `carry` or `value` where a step is
proved wrong, else what is wrong with its form, such as `missing` for a line too few."""


def errors_section(
    start: Measured, arms: Mapping[str, Sequence[Measured]], ids: Sequence[str]
) -> tuple[Section, dict[str, dict[str, Any]]]:
    """Which kinds of error went away and which appeared, by arm, and the numbers for `results.json`.

    Sampled solutions show the change of each kind's share; greedy ones, of which there is one before and one a seed
    after, what became what.
    """
    sampled = {name: transitions(labels(ids, [start]), labels(ids, runs)) for name, runs in arms.items()}
    greedy = {
        name: transitions(labels(ids, [start], greedy=True), labels(ids, runs, greedy=True))
        for name, runs in arms.items()
    }
    count = Counter[str]()
    for found in sampled.values():
        count.update(dict(zip(found.kinds, (found.before + found.after).sum(axis=0), strict=True)))
    kinds = sorted(count, key=lambda kind: (kind != RIGHT, -count[kind], kind))
    share = lambda found, values, kind: float(values[found.kinds.index(kind)]) if kind in found.kinds else 0.0
    first = next(iter(sampled.values()))
    rows: list[tuple[Any, ...]] = [("start", *(share(first, first.before.mean(axis=0), kind) for kind in kinds))]
    rows += [
        (name, *(found.change(kind) if kind in found.kinds else 0.0 for kind in kinds))
        for name, found in sampled.items()
    ]
    changes = Table(
        ("arm", *kinds),
        tuple(rows),
        "Sampled solutions: share with this first error at the start, and its change from there in each arm, with 95 % "
        "bootstrap intervals over problems.",
    )
    told = lambda found, kind: f"-{share(found, found.went, kind):.3f} +{share(found, found.appeared, kind):.3f}"
    moves = Table(
        ("arm", *kinds),
        tuple((name, *(told(found, kind) for kind in kinds)) for name, found in greedy.items()),
        "Greedy solutions: share that was of this kind and is no more (-), and that became so (+).",
    )
    numbers = {
        name: {
            "change": {kind: sampled[name].change(kind) for kind in sampled[name].kinds},
            "greedy": {"kinds": greedy[name].kinds, "table": greedy[name].table.tolist()},
        }
        for name in arms
    }
    return Section("Which errors went away, which appeared", ERRORS, (changes, moves)), numbers


def labels(ids: Sequence[str], runs: Sequence[Measured], *, greedy: bool = False) -> dict[str, list[str]]:
    """The labels of all runs' solutions of each problem, by its name."""
    own = lambda run, n: [run.greedy_kinds[n]] if greedy else run.kinds[n]
    return {name: [kind for run in runs for kind in own(run, n)] for n, name in enumerate(ids)}
