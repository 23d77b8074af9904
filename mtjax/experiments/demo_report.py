"""Report of the demo: the table on the terminal, one HTML page with plots, and `results.json`."""

import json
import pathlib
from typing import Any

import numpy as np

from mtjax.evaluation.coverage import CoverageRow
from mtjax.experiments.config import Demo
from mtjax.experiments.coverage import verdict as coverage_verdict
from mtjax.experiments.coverage_report import coverage_section, numbers_of
from mtjax.experiments.coverage_report import table_of as table_of_curves
from mtjax.experiments.demo import RIGHT_ONLY, TUNING, Outcome
from mtjax.experiments.tables import ends_of, gain, higher_or_lower, passes_by_k, rows_of, seed_means, stacked_passes
from mtjax.io.files import write_text
from mtjax.registry import plain_settings
from mtjax.reporting import plots
from mtjax.reporting.intervals import Interval, mean_interval
from mtjax.reporting.report import Report, Section, Table, format_table, section, write_report

START = "start"

HOW = """\
The start model imitates generated arithmetic in which {source.habit_share:.0%} of the solutions drop carries and
borrows (probability {source.slip_probability} per step), so that it makes a recognisable kind of mistake. It stopped at
step {o.begin.steps}, when its sampled accuracy on a separate set of problems was within {c.target} ({stop}).

It then solved {problems} problems {c.mine_samples} times; the exact checker found {o.mined.right} distinct right and
{o.mined.wrong} wrong solutions. Every arm is a run of `mtjax.train` from the same weights, with seeds {c.seeds}. The
last arm stops when it has seen as many target tokens of right solutions as mistake tuning.

The learning rate is the same for all arms and was not tuned per arm. Time:

{seconds}"""

SMALL = """\
The start model at the earlier step {early}, when its errors are of many kinds, trained on {o.source.count} problems
with their exact solutions until it has memorised them ({o.steps} steps at learning rate
{c.arm_optim.learning_rate:g}): by cross-entropy, and by DCO, whose loss stops raising the
probability of answers that {o.n} samples already find.
One seed, {o.test_source.count} held-out problems, {o.samples} samples each."""


def write(c: Demo, outcome: Outcome) -> pathlib.Path:
    """Print the table; write the page, its PNGs and the numbers; returns the page's path."""
    k = max(c.ks)
    measured = {START: [outcome.start]} | {name: [r.end for r in runs] for name, runs in outcome.arms.items()}
    coverage = {name: rows_of(runs, c.ks) for name, runs in measured.items()}
    table = table_of(outcome, coverage, k)
    seen = seen_table(c, outcome)
    print("\n" + format_table(table) + "\n\n" + format_table(seen))
    wrong = [run.behind_wrong for run in outcome.arms[TUNING] if run.behind_wrong is not None]
    behind = [mean_interval(stacked_passes(runs, 1)) for runs in (measured[TUNING], wrong)]
    prefix = gain(measured[TUNING], wrong, 1)
    against = gain(measured[TUNING], measured[RIGHT_ONLY], 1)
    verdict = _verdict(prefix, against)
    o = c.overfit
    print(f"\n{verdict}\n\n{format_table(table_of_curves(outcome.overfit, o.ks))}")
    print("\n" + coverage_verdict(outcome.overfit, max(o.ks)))
    arms = [plots.Arm(name, ends_of(rows), seed_means(measured[name], k)) for name, rows in coverage.items()]
    picture = plots.arms_plot("arms", arms, ("pass@1", f"pass@{k}", f"maj@{k}"), caption="Each arm; rings are seeds.")
    losses = {
        name: plots.Curve(list(range(1, 1 + len(runs[0].losses))), runs[0].losses)
        for name, runs in outcome.arms.items()
    }
    stop = ", ".join(f"step {step}: {share:.3f}" for step, share in outcome.begin.stop_rule)
    seconds = "\n".join(f"- {stage}: {spent:.0f} s" for stage, spent in outcome.seconds.items())
    problems = len(outcome.mined.problems)
    early = next(step for step, share in outcome.begin.stop_rule if share >= o.start_at)
    small = SMALL.format(o=o, c=c, early=early)
    sections: list[Section] = [
        Section("Results", verdict, (table, seen), (picture,)),
        section(
            "Effect of the prefix",
            "The same weights decode after the correct and after the incorrect prefix. The gap shows whether the model "
            f"distinguishes them. Difference in pass@1: {prefix}.",
            figure=plots.gap_plot(
                "prefix", [plots.Gap(TUNING, *behind)], caption="Filled: correct prefix; hollow: incorrect prefix."
            ),
        ),
        section(
            "Coverage",
            figure=plots.coverage_plot("coverage", passes_by_k(coverage), caption="pass@k over k, with bands."),
        ),
        coverage_section(outcome.overfit, o.ks, "Coverage on a small training set", small),
        section(
            "Training",
            "First seed. The curves are not comparable in height: the arms predict different text.",
            figure=plots.curves_plot("loss", losses, x_label="step", y_label="loss, nats per target token", first=1),
        ),
        section(
            "Protocol",
            HOW.format(c=c, o=outcome, source=c.start_source, stop=stop, seconds=seconds, problems=problems),
        ),
    ]
    folder = pathlib.Path(c.output)
    path = write_report(Report("Learning from one's own mistakes", sections, verdict), folder)
    numbers = {
        "settings": plain_settings(c),
        "arms": {name: {row.k: [row.pass_at_k, row.maj_at_k] for row in rows} for name, rows in coverage.items()},
        "prefix_gap": prefix,
        "mistake_tuning_less_right_only": against,
        "overfit": numbers_of(outcome.overfit, o.ks),
        "start_steps": outcome.begin.steps,
        "seconds": outcome.seconds,
    }
    write_text(folder / "results.json", json.dumps(numbers, indent=1))
    return path


def table_of(outcome: Outcome, coverage: dict[str, list[CoverageRow]], k: int) -> Table:
    """What each arm solves, one row an arm."""
    rows: list[tuple[Any, ...]] = []
    for name, own in coverage.items():
        runs = outcome.arms.get(name, [])
        greedy = float(np.mean([run.end.greedy for run in runs])) if runs else outcome.start.greedy
        rows.append((name, own[0].pass_at_k, own[-1].pass_at_k, own[-1].maj_at_k, greedy))
    columns = ("arm", "pass@1", f"pass@{k}", f"maj@{k}", "greedy")
    return Table(columns, tuple(rows), "Mean over seeds and problems, with 95 % bootstrap intervals over problems.")


def seen_table(c: Demo, outcome: Outcome) -> Table:
    """What each arm was trained on, one row an arm, and pass@1 of each of its seeds."""
    mean = lambda values: int(np.mean(list(values)))
    rows: list[tuple[Any, ...]] = [
        (
            name,
            mean(run.cost["positions"] for run in runs),
            mean(run.cost["right_tokens"] for run in runs),
            *(float(run.end.right.mean()) for run in runs),
        )
        for name, runs in outcome.arms.items()
    ]
    seeds = tuple(f"pass@1, seed {seed}" for seed in c.seeds)
    columns = ("arm", "forward positions", "right target tokens", *seeds)
    return Table(columns, tuple(rows), "Trained on, mean over seeds; and what each seed solves.")


def _verdict(prefix: Interval, against: Interval) -> str:
    """Two sentences that follow the intervals."""
    learned = "learned" if prefix.low > 0 else "did not learn"
    return (
        f"Mistake tuning {learned} to distinguish its prefixes (pass@1, correct minus incorrect: {prefix}). Its pass@1 "
        f"is {higher_or_lower(against)} that of right-only training at equal forward positions (difference: {against})."
    )
