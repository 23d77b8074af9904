"""What came out of the comparison: tables, one HTML page with plots, and `results.json`."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjax.evaluation.coverage import CoverageRow
from mtjax.experiments.claims import claims_of, claims_section
from mtjax.experiments.compare import Outcome, total_seconds, validation_pass
from mtjax.experiments.compare_cost import cost_section, how_section, rates_section
from mtjax.experiments.config import Comparison
from mtjax.experiments.findings import Findings, prefix_text, seed_means, verdict
from mtjax.experiments.sections import calibration_section, errors_section
from mtjax.experiments.tables import passes_by_k, rows_of
from mtjax.io.files import write_text
from mtjax.registry import plain_settings
from mtjax.reporting import plots
from mtjax.reporting.intervals import Interval
from mtjax.reporting.markdown import markdown_of
from mtjax.reporting.plots import panels_plot
from mtjax.reporting.report import Report, Section, Table, format_table, section, write_report


def write(c: Comparison, outcome: Outcome) -> pathlib.Path:
    """Print the table and what it says; write the page, its PNGs and the numbers; returns the page's path."""
    found = Findings(c, outcome)
    coverage = {name: rows_of(runs, c.ks) for name, runs in found.measured.items()}
    table, said = main_table(found, coverage), verdict(found)
    print("\n" + format_table(table) + "\n\n" + said)
    calibration, calibrated = calibration_section(found.measured)
    errors, kinds = errors_section(outcome.start, found.arms, [p.id for p in c.test_source.problems().items])
    k, ks = found.k, sorted({1, c.ks[len(c.ks) // 2], max(c.ks)})
    names = ("pass@1", f"pass@{k}", f"maj@{k}")
    pictured = [plots.Arm(name, _ends(rows), seed_means(found.measured[name], k)) for name, rows in coverage.items()]
    over = {f"pass@{k}": {name: found.curve(name, k) for name in outcome.methods} for k in ks}
    sections: list[Section] = [
        section("What came out", said, table, plots.arms_plot("arms", pictured, names, caption="Rings are seeds.")),
        claims_section(found),
        section(
            "Coverage",
            figure=plots.coverage_plot("coverage", passes_by_k(coverage), caption="pass@k over k, with bands."),
        ),
        section(
            "Over training",
            "Means over seeds and problems; step 0 is the start.",
            figure=panels_plot("over_training", over, x_label="step", y_label="share of problems", first=1),
        ),
        calibration,
        errors,
        section("The prefix", prefix_text(found.prefix)),
        cost_section(c, outcome),
        rates_section(c, outcome),
        how_section(c, outcome),
    ]
    folder = pathlib.Path(c.output)
    report = Report("Ways to learn from one's own mistakes, compared", sections, said)
    path = write_report(report, folder)
    write_text(folder / "report.md", markdown_of(report, "pictures/comparison"))
    write_text(folder / "results.json", json.dumps(results(found, coverage, calibrated, kinds), indent=1))
    return path


def results(found: Findings, coverage: dict[str, list[CoverageRow]], calibrated: Any, kinds: Any) -> dict[str, Any]:
    """Everything that the page says, as numbers."""
    c, outcome = found.c, found.outcome
    return {
        "settings": plain_settings(c),
        "methods": {name: method.objective_name for name, method in outcome.methods.items()},
        "rates": outcome.rates,
        "tuning": {
            name: {f"{rate:g}": validation_pass(record, c.tune_k) for rate, record in own.items()}
            for name, own in outcome.tuning.items()
        },
        "arms": {name: {row.k: [row.pass_at_k, row.maj_at_k] for row in rows} for name, rows in coverage.items()},
        "seeds": {name: seed_means(runs, found.k) for name, runs in found.measured.items()},
        "less_right_only": {k: found.gains(k) for k in c.ks},
        "over_training": {
            name: {k: dict(zip(*found.curve(name, k)[:2], strict=True)) for k in c.ks} for name in outcome.methods
        },
        "calibration": calibrated,
        "errors": kinds,
        "prefix_gap": found.prefix,
        "claims": [claim._asdict() | {"shown": claim.shown} for claim in claims_of(found)],
        "cost": {name: records[0].cost for name, records in outcome.arms.items()},
        "sampling": {"solutions": outcome.mined.drawn, "tokens": outcome.mined.tokens},
        "injection": {key: value for key, value in outcome.injected._asdict().items() if key != "problems"},
        "mined": {"right": outcome.mined.right, "wrong": outcome.mined.wrong},
        "start_steps": outcome.begin.steps,
        "verdict": verdict(found),
        "seconds": total_seconds(outcome),
    }


def main_table(found: Findings, coverage: dict[str, list[CoverageRow]]) -> Table:
    """One row an arm: what it solves, and what it has over right-only training."""
    k, rates = found.k, found.outcome.rates
    first, last = found.gains(1), found.gains(k)
    rows: list[tuple[Any, ...]] = []
    for name, own in coverage.items():
        greedy = float(np.mean([run.greedy for run in found.measured[name]]))
        rate = f"{rates[name]:g}" if name in rates else "–"
        ends = (own[0].pass_at_k, first.get(name), own[-1].pass_at_k, last.get(name), own[-1].maj_at_k, greedy)
        rows.append((name, rate, *ends))
    columns = (
        "arm",
        "learning rate",
        "pass@1",
        "less right only",
        f"pass@{k}",
        "less right only ",
        f"maj@{k}",
        "greedy",
    )
    return Table(columns, tuple(rows), "Mean over seeds and problems, with 95 % bootstrap intervals over problems.")


def _ends(rows: Sequence[CoverageRow]) -> dict[str, Interval]:
    """The intervals of the smallest and the largest k, by name."""
    last = rows[-1]
    return {"pass@1": rows[0].pass_at_k, f"pass@{last.k}": last.pass_at_k, f"maj@{last.k}": last.maj_at_k}
