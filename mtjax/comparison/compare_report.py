"""What came out of the comparison: tables, one HTML page with plots, and `results.json`."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjax.checkpoint import write_whole
from mtjax.comparison.compare import Outcome, total_seconds, validation_pass
from mtjax.comparison.compare_cost import cost_section, how_section, rates_section
from mtjax.comparison.lab import Measured
from mtjax.comparison.methods import RIGHT_ONLY
from mtjax.comparison.pictures import panels_plot
from mtjax.comparison.sections import calibration_section, errors_section
from mtjax.comparison.settings import Comparison
from mtjax.comparison.tables import better_or_worse, clear, gain, pass_from_counts, passes, rows_of, votes
from mtjax.evaluation import plots
from mtjax.evaluation.bootstrap import Interval, difference_interval
from mtjax.evaluation.coverage import CoverageRow
from mtjax.evaluation.report import Report, Section, Table, format_table, section, write_report


@dataclasses.dataclass(frozen=True)
class Findings:
    """The numbers of one comparison: by arm, `start` first, with intervals."""

    c: Comparison
    outcome: Outcome

    @property
    def k(self) -> int:
        """The largest k."""
        return max(self.c.ks)

    @property
    def arms(self) -> dict[str, list[Measured]]:
        """The measurements at the end, by method and seed."""
        own = {name: [record.measured for record in records] for name, records in self.outcome.arms.items()}
        return {name: [measured for measured in runs if measured is not None] for name, runs in own.items()}

    @property
    def measured(self) -> dict[str, list[Measured]]:
        """The same with the start in front."""
        return {"start": [self.outcome.start]} | self.arms

    def gains(self, k: int) -> dict[str, Interval]:
        """pass@k of each method less that of right-only training, paired."""
        arms = self.arms
        return {name: gain(runs, arms[RIGHT_ONLY], k) for name, runs in arms.items() if name != RIGHT_ONLY}

    def curve(self, name: str, k: int) -> plots.Curve:
        """pass@k over training, step 0 being the start behind its own prompt."""
        c, records = self.c, self.outcome.arms[name]
        steps = [0, *sorted(records[0].curve)]
        counts = {0: [self.outcome.start.right.sum(axis=1).tolist()]}
        counts |= {step: [record.curve[step] for record in records] for step in steps[1:]}
        means = [float(np.mean([pass_from_counts(own, c.samples, k) for own in counts[step]])) for step in steps]
        return plots.Curve(steps, means)

    @property
    def prefix(self) -> Interval | None:
        """pass@1 behind the correct prefix less that behind the incorrect one; None without mistake tuning."""
        records = [record for own in self.outcome.arms.values() for record in own if record.behind_wrong is not None]
        right = [passes(record.measured.right, 1) for record in records if record.measured is not None]
        wrong = [passes(record.behind_wrong.right, 1) for record in records if record.behind_wrong is not None]
        return difference_interval(np.stack(right), np.stack(wrong)) if records else None


def write(c: Comparison, outcome: Outcome) -> pathlib.Path:
    """Print the table and what it says; write the page, its PNGs and the numbers; returns the page's path."""
    found = Findings(c, outcome)
    coverage = {name: rows_of(runs, c.ks) for name, runs in found.measured.items()}
    table, said = main_table(found, coverage), verdict(found)
    print("\n" + format_table(table) + "\n\n" + said)
    calibration, calibrated = calibration_section(found.measured)
    errors, kinds = errors_section(outcome.start, found.arms)
    k, ks = found.k, sorted({1, c.ks[len(c.ks) // 2], max(c.ks)})
    names = ("pass@1", f"pass@{k}", f"maj@{k}")
    pictured = [plots.Arm(name, _ends(rows), seed_means(found.measured[name], k)) for name, rows in coverage.items()]
    over = {f"pass@{k}": {name: found.curve(name, k) for name in outcome.methods} for k in ks}
    sections: list[Section] = [
        section("What came out", said, table, plots.arms_plot("arms", pictured, names, caption="Rings are seeds.")),
        section("Coverage", figure=plots.coverage_plot("coverage", coverage, caption="pass@k over k, with bands.")),
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
    path = write_report(Report("Seven ways to learn from one's own mistakes", sections, said), folder)
    write_whole(folder / "results.json", json.dumps(results(found, coverage, calibrated, kinds), indent=1))
    return path


def results(found: Findings, coverage: dict[str, list[CoverageRow]], calibrated: Any, kinds: Any) -> dict[str, Any]:
    """Everything that the page says, as numbers."""
    c, outcome = found.c, found.outcome
    return {
        "settings": dataclasses.asdict(c),
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


def verdict(found: Findings) -> str:
    """What the intervals say of each method against right-only training, whoever wins."""
    parts = []
    for k in sorted({1, found.k}):
        gains = found.gains(k)
        by: dict[str, list[str]] = {}
        for name, interval in gains.items():
            by.setdefault(better_or_worse(interval), []).append(f"{name} ({interval})")
        told = "; ".join(f"{say} it: {', '.join(names)}" for say, names in sorted(by.items()))
        won = sum(clear(x) and x.low > 0 for x in gains.values())
        parts.append(f"pass@{k}: {won} of {len(gains)} methods did better than right-only training. {told}.")
    return "\n\n".join(parts)


def prefix_text(prefix: Interval | None) -> str:
    """What the gap between the two prefixes of mistake tuning says."""
    if prefix is None:
        return "Mistake tuning was not among the methods."
    learnt = "learnt" if prefix.low > 0 else "did not learn"
    return (
        "The same weights decode behind the correct and behind the incorrect prefix. The gap is the evidence that the "
        f"model tells them apart: mistake tuning {learnt} to, with a difference in pass@1 of {prefix}."
    )


def seed_means(runs: Sequence[Measured], k: int) -> dict[str, list[float]]:
    """Each seed's own means."""
    return {
        "pass@1": [float(passes(run.right, 1).mean()) for run in runs],
        f"pass@{k}": [float(passes(run.right, k).mean()) for run in runs],
        f"maj@{k}": [float(votes(run, k).mean()) for run in runs],
    }


def _ends(rows: Sequence[CoverageRow]) -> dict[str, Interval]:
    """The intervals of the smallest and the largest k, by name."""
    last = rows[-1]
    return {"pass@1": rows[0].pass_at_k, f"pass@{last.k}": last.pass_at_k, f"maj@{last.k}": last.maj_at_k}
