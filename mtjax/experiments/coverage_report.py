"""Report of training on a small set: pass@k over training, for the demo and for the coverage experiment."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from mtjax.experiments.config import Coverage
from mtjax.experiments.coverage import CROSS_ENTROPY, Curves, Outcome, dco_name, verdict
from mtjax.experiments.sections import calibration_section
from mtjax.io.files import write_text
from mtjax.registry import plain_settings
from mtjax.reporting.markdown import markdown_of
from mtjax.reporting.plots import Curve, panels_plot
from mtjax.reporting.report import Report, Section, Table, format_table, section, write_report

HOW = """\
For each of the seeds {c.seeds} a start model imitates generated arithmetic ({habit:.0%} of the solutions carry planted
slips) until its sampled accuracy on a separate set of problems is within {c.target}: {starts}.

From each start, two arms continue on {c.train_source.count} problems of that seed with their exact solutions, for
{c.arm_steps} steps of {c.batch_size} rows at learning rate {c.arm_optim.learning_rate:g}: {epochs:.0f} passes over the
set. The arms differ in the loss only; the data order is the same. pass@k is estimated without bias from {c.samples}
samples at temperature 1 of each of {c.test_source.count} held-out problems; all arms and seeds use the same problems.

Both arms use the same learning rate, which was not tuned. DCO's loss is a sum over tokens and cross-entropy's a mean,
but the gradient's norm is clipped and Adam divides by its size, so that the scale matters little. Time:

{seconds}"""


def table_of(curves: Curves, ks: Sequence[int]) -> Table:
    """Start, both ends, both changes and the difference, at each k."""
    last, names = curves.steps()[-1], (CROSS_ENTROPY, dco_name(curves.n))
    rows: list[tuple[Any, ...]] = [("start", *(curves.at(CROSS_ENTROPY, 0, k) for k in ks))]
    rows += [(name, *(curves.at(name, last, k) for k in ks)) for name in names]
    rows += [(f"{name}, less start", *(curves.change(name, k) for k in ks)) for name in names]
    rows += [("DCO less cross-entropy", *(curves.difference(k) for k in ks))]
    seeds = "1 seed" if len(curves.starts) == 1 else f"{len(curves.starts)} seeds"
    caption = (
        f"After {last} steps; mean over {seeds} and the problems, with 95 % bootstrap intervals over problems; "
        "differences are paired."
    )
    return Table(("arm", *(f"pass@{k}" for k in ks)), tuple(rows), caption)


def coverage_section(curves: Curves, ks: Sequence[int], heading: str, text: str) -> Section:
    """What appeared, the table, and a panel for each k."""
    names, steps = (CROSS_ENTROPY, dco_name(curves.n)), curves.steps()

    def line(name: str, k: int) -> Curve:
        at = [curves.at(name, step, k) for step in steps]
        return Curve(steps, [x.mean for x in at], [x.low for x in at], [x.high for x in at])

    picture = panels_plot(
        "coverage_over_training",
        {f"pass@{k}": {name: line(name, k) for name in names} for k in ks},
        x_label="step",
        y_label="share of problems",
        caption="pass@k over training, with bootstrap bands over problems.",
        first=1,
    )
    return section(heading, f"{text}\n\n{verdict(curves, max(ks))}".strip(), table_of(curves, ks), picture)


def numbers_of(curves: Curves, ks: Sequence[int]) -> dict[str, Any]:
    """The numbers behind the section, for `results.json`."""
    names, steps = (CROSS_ENTROPY, dco_name(curves.n)), curves.steps()
    per_k = lambda make: {str(k): make(k) for k in ks}
    return {
        "curves": {
            name: {str(step): per_k(lambda k, n=name, s=step: curves.at(n, s, k)) for step in steps}  # type: ignore[misc]
            for name in names
        },
        "change": {name: per_k(lambda k, n=name: curves.change(n, k)) for name in names},  # type: ignore[misc]
        "dco_less_cross_entropy": per_k(curves.difference),
        "verdict": verdict(curves, max(ks)),
    }


def write(c: Coverage, outcome: Outcome) -> pathlib.Path:
    """Print the table and what appeared; write the page, its PNGs and the numbers; returns the page's path."""
    ks, curves = c.ks, outcome.curves
    print("\n" + format_table(table_of(curves, ks)) + "\n\n" + verdict(curves, max(ks)))
    ends = {name: [record.measured for record in records] for name, records in curves.arms.items()}
    measured = {"start": outcome.starts} | {name: [m for m in own if m is not None] for name, own in ends.items()}
    calibration, calibrated = calibration_section(measured)
    first = curves.arms[CROSS_ENTROPY][0]
    starts = ", ".join(f"step {begin.steps} ({begin.stop_rule[-1][1]:.3f})" for begin in outcome.begins)
    epochs = first.cost["examples"] / c.train_source.count
    seconds = "\n".join(f"- {stage}: {spent:.0f} s" for stage, spent in outcome.seconds.items())
    how = HOW.format(c=c, habit=c.start_source.habit_share, starts=starts, epochs=epochs, seconds=seconds)
    sections = [
        coverage_section(curves, ks, "Results", ""),
        calibration,
        section("Protocol", how),
    ]
    folder = pathlib.Path(c.output)
    report = Report("Coverage on a small training set", sections, verdict(curves, max(ks)))
    path = write_report(report, folder)
    write_text(folder / "report.md", markdown_of(report, "pictures/coverage"))
    numbers = {
        "settings": plain_settings(c),
        **numbers_of(curves, ks),
        "seeds": {
            name: {str(k): curves.passes(name, curves.steps()[-1], k).mean(axis=1).tolist() for k in ks}
            for name in curves.arms
        },
        "starts": {str(k): curves.passes(CROSS_ENTROPY, 0, k).mean(axis=1).tolist() for k in ks},
        "start_steps": [begin.steps for begin in outcome.begins],
        "calibration": calibrated,
        "cost": {name: records[0].cost for name, records in curves.arms.items()},
        "seconds": outcome.seconds,
    }
    write_text(folder / "results.json", json.dumps(numbers, indent=1))
    return path
