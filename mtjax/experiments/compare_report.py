"""Report of the comparison: tables, one HTML page with plots, and `results.json`."""

import json
import pathlib
from typing import Any

import numpy as np

from mtjax.evaluation.coverage import CoverageRow
from mtjax.experiments.compare import Outcome, total_seconds, validation_pass
from mtjax.experiments.config import Comparison
from mtjax.experiments.findings import Findings, claims_of, claims_section, prefix_text, verdict
from mtjax.experiments.sections import calibration_section, errors_section
from mtjax.experiments.tables import ends_of, passes_by_k, rows_of, seed_means
from mtjax.io.files import write_text
from mtjax.registry import plain_settings
from mtjax.reporting import plots
from mtjax.reporting.markdown import markdown_of
from mtjax.reporting.plots import panels_plot
from mtjax.reporting.report import Report, Section, Table, format_table, section, write_report


def write(c: Comparison, outcome: Outcome) -> pathlib.Path:
    """Print the table and the verdict; write the page, its PNGs and the numbers; return the page's path."""
    found = Findings(c, outcome)
    coverage = {name: rows_of(runs, c.ks) for name, runs in found.measured.items()}
    table, words = main_table(found, coverage), verdict(found)
    print("\n" + format_table(table) + "\n\n" + words)
    calibration, calibrated = calibration_section(found.measured)
    errors, kinds = errors_section(outcome.start, found.arms, [p.id for p in c.test_source.problems().items])
    k, ks = found.k, sorted({1, c.ks[len(c.ks) // 2], max(c.ks)})
    names = ("pass@1", f"pass@{k}", f"maj@{k}")
    pictured = [plots.Arm(name, ends_of(rows), seed_means(found.measured[name], k)) for name, rows in coverage.items()]
    over = {f"pass@{k}": {name: found.curve(name, k) for name in outcome.methods} for k in ks}
    sections: list[Section] = [
        section("Results", words, table, plots.arms_plot("arms", pictured, names, caption="Rings are seeds.")),
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
    report = Report("Ways to learn from one's own mistakes, compared", sections, words)
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


HOW = """\
The start model imitates generated arithmetic in which {source.habit_share:.0%} of the solutions drop carries and
borrows (probability {source.slip_probability} per step), so that it makes a recognisable kind of mistake. It stopped at
step {o.begin.steps}, when its sampled accuracy on a separate set of problems was within {c.target} ({stop:.3f}).

It then solved {problems} problems {c.mine_samples} times; the exact checker found {o.mined.right} distinct right and
{o.mined.wrong} wrong solutions. Out of its own right steps a seeded rule editor made {o.injected.pairs} step pairs
({o.injected.made} edits tried), each wrong side proved wrong by the checker: {kinds}.

Every method starts from the same weights with fresh moments and does {c.arm_steps} updates of {c.batch_size} rows of
{c.sequence_length} positions (a pair has two rows), with a learning rate chosen on {validation} validation problems by
pass@{c.tune_k}, with a separate seed; then once for each of the seeds {c.seeds}. pass@k is estimated without bias
from {c.samples} samples at temperature 1 of each of {test} test problems, which are the same for all. Intervals are
over problems, not over seeds, which are shown separately. They are not corrected for multiple comparisons.

{methods}"""


COST = """\
All methods train on equal forward positions of the policy. Additional cost is counted here: positions of a reference
model, and the solutions that were sampled before any method could start, the same for all (right-only training needs
them too): {drawn:,} solutions, {tokens:,} tokens. The step pairs were made by rule, without a model. `forward
passes` counts a training position as three forward ones (one forward, two backward) and a reference's or a sampled
token as one, per arm. The choice of the learning rate trains every arm {rates} more times and measures on
separate problems.

Seconds are wall-clock times of this machine, which may have been shared:

{seconds}"""

RATES = """\
pass@{c.tune_k} on {number} validation problems from {c.tune_samples} samples each, after all updates, with data order
{c.tune_seed}; the highest is taken, of equal ones the lower rate. {edge}"""


def cost_section(c: Comparison, outcome: Outcome) -> Section:
    """Positions, targets and seconds of each method."""
    rows: list[tuple[Any, ...]] = []
    for name, records in outcome.arms.items():
        mean = {key: int(np.mean([record.cost[key] for record in records])) for key in records[0].cost}
        seconds = float(np.mean([record.seconds["train"] for record in records]))
        passes = 3 * mean["positions"] + mean["reference_positions"] + outcome.mined.tokens
        counted = ("updates", "examples", "positions", "reference_positions", "target_tokens", "right_tokens")
        rows.append((name, *(mean[key] for key in counted), passes, seconds))
    columns = ("arm", "updates", "examples", "positions", "of the reference", "targets", "of right texts")
    table = Table((*columns, "forward passes", "seconds"), tuple(rows), "Means over the seeds.")
    spent = "\n".join(f"- {name}: {took:.0f} s" for name, took in total_seconds(outcome).items())
    mined = outcome.mined
    text = COST.format(drawn=mined.drawn, tokens=mined.tokens, rates=len(c.rates), seconds=spent)
    return section("What it cost", text, table)


def rates_section(c: Comparison, outcome: Outcome) -> Section:
    """The grid, what each rate gave, and which methods took one at its edge."""
    rows: list[tuple[Any, ...]] = [
        (name, *(validation_pass(own[rate], c.tune_k) for rate in c.rates), f"{outcome.rates[name]:g}")
        for name, own in outcome.tuning.items()
    ]
    ends = {min(c.rates), max(c.rates)} if len(c.rates) > 1 else set()
    at_edge = [name for name, rate in outcome.rates.items() if rate in ends]
    edge = "No method took a rate at the edge of the grid."
    if at_edge:
        edge = f"At the edge of the grid, where a wider one might be better: {', '.join(at_edge)}."
    text = RATES.format(c=c, number=c.validation_source.count, edge=edge)
    return section("Learning rates", text, Table(("method", *(f"{rate:g}" for rate in c.rates), "taken"), rows))


def how_section(c: Comparison, outcome: Outcome) -> Section:
    """The protocol in words, and what each method is."""
    methods = "\n".join(
        f"- **{name}**: {method.says} `{method.objective_name}`" for name, method in outcome.methods.items()
    )
    kinds = ", ".join(f"{name} {count}" for name, count in outcome.injected.kinds.items())
    text = HOW.format(
        c=c,
        o=outcome,
        source=c.start_source,
        stop=outcome.begin.stop_rule[-1][1],
        problems=len(outcome.mined.problems),
        validation=c.validation_source.count,
        test=c.test_source.count,
        kinds=kinds,
        methods=methods,
    )
    return section("Protocol", text)
