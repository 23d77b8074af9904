"""What came out of a comparison: the table on the terminal, one HTML page with plots, and `results.json`."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from mtjax.checkpoint import write_whole
from mtjax.comparison.run import ArmRun, Measured, Outcome
from mtjax.comparison.settings import Comparison
from mtjax.evaluation import plots
from mtjax.evaluation.bootstrap import Interval, difference_interval, mean_interval
from mtjax.evaluation.coverage import CoverageRow, maj_at_k, pass_at_k
from mtjax.evaluation.report import Report, Section, Table, format_table, section, write_report

START = "start"

HOW = """\
The start model imitates generated arithmetic in which {source.habit_share:.0%} of the solutions drop carries and
borrows (probability {source.slip_probability} a step): a kind of mistake planted on purpose. It stopped at step
{o.start_steps}, when its sampled accuracy on problems of the stop rule's own was within {c.target} ({stop}).

It then solved {problems} problems {c.mine_samples} times; the exact checker found {o.mined_right} distinct right and
{o.mined_wrong} wrong solutions. Every arm starts from the same weights and goes through the same compiled step, with
seeds {c.seeds}. The last arm stops when it has seen as many right target tokens as mistake tuning did.

The learning rate is the same for all arms and was not tuned per arm. Time:

{seconds}"""


def per_problem(measured: Measured, k: int) -> tuple[np.ndarray, np.ndarray]:
    """pass@k and maj@k of each problem, `[N]` each."""
    count = measured.right.shape[1]
    passes = np.asarray(pass_at_k(count, measured.right.sum(1), k))
    votes = [maj_at_k(answers, right, k) for answers, right in zip(measured.answers, measured.right, strict=True)]
    return passes, np.array(votes)


def rows_of(runs: list[Measured], ks: tuple[int, ...]) -> list[CoverageRow]:
    """pass@k and maj@k for each k: mean over seeds and problems, bootstrap interval over problems."""
    rows = []
    for k in ks:
        passes, votes = (np.stack(x) for x in zip(*(per_problem(run, k) for run in runs), strict=True))
        rows.append(CoverageRow(k, mean_interval(passes), mean_interval(votes)))
    return rows


def seed_means(runs: list[Measured], k: int) -> dict[str, list[float]]:
    """Each seed's own means."""
    both = [per_problem(run, k) for run in runs]
    first = [float(per_problem(run, 1)[0].mean()) for run in runs]
    return {
        "pass@1": first,
        f"pass@{k}": [float(passes.mean()) for passes, _ in both],
        f"maj@{k}": [float(votes.mean()) for _, votes in both],
    }


def table_of(outcome: Outcome, coverage: dict[str, list[CoverageRow]], k: int) -> Table:
    """One row an arm."""
    rows: list[tuple[Any, ...]] = []
    for name, own in coverage.items():
        runs = outcome.arms.get(name, [])
        greedy = np.mean([run.measured.greedy for run in runs]) if runs else outcome.start.greedy
        tokens = (
            (int(np.mean([r.positions for r in runs])), int(np.mean([r.right_tokens for r in runs])))
            if runs
            else (0, 0)
        )
        last = own[-1]
        rows.append((name, own[0].pass_at_k, last.pass_at_k, last.maj_at_k, float(greedy), *tokens))
    columns = ("arm", "pass@1", f"pass@{k}", f"maj@{k}", "greedy", "forward positions", "right target tokens")
    return Table(columns, tuple(rows), "Mean over seeds and problems, with 95 % bootstrap intervals over problems.")


def write(c: Comparison, outcome: Outcome) -> pathlib.Path:
    """Print the table; write the page, its PNGs and the numbers; returns the page's path."""
    k = max(c.ks)
    measured = {START: [outcome.start]} | {name: [r.measured for r in runs] for name, runs in outcome.arms.items()}
    coverage = {name: rows_of(runs, c.ks) for name, runs in measured.items()}
    table = table_of(outcome, coverage, k)
    print("\n" + format_table(table))
    tuning, right_only = outcome.arms["mistake tuning"], outcome.arms["right only"]
    wrong = [run.behind_wrong for run in tuning if run.behind_wrong is not None]
    gap = plots.Gap(
        "mistake tuning", mean_interval(_passes(tuning)), mean_interval(np.stack([_first(m) for m in wrong]))
    )
    prefix = difference_interval(_passes(tuning), np.stack([_first(m) for m in wrong]))
    against = difference_interval(_passes(tuning), _passes(right_only))
    verdict = _verdict(prefix, against)
    print("\n" + verdict)
    arms = [plots.Arm(name, _intervals(rows, k), seed_means(measured[name], k)) for name, rows in coverage.items()]
    picture = plots.arms_plot("arms", arms, ("pass@1", f"pass@{k}", f"maj@{k}"), caption="Each arm; rings are seeds.")
    losses = {
        name: plots.Curve(list(range(1, 1 + len(runs[0].losses))), runs[0].losses)
        for name, runs in outcome.arms.items()
    }
    stop = ", ".join(f"step {step}: {share:.3f}" for step, share in outcome.stop_rule)
    seconds = "\n".join(f"- {stage}: {spent:.0f} s" for stage, spent in outcome.seconds.items())
    sections: list[Section] = [
        section("What came out", verdict, table, picture),
        section(
            "Does the prefix work?",
            "The same weights decode behind the correct and behind the incorrect prefix. The gap is the evidence that "
            f"the model tells them apart. Difference in pass@1: {prefix}.",
            figure=plots.gap_plot("prefix", [gap], caption="Filled: correct prefix; hollow: incorrect prefix."),
        ),
        section("Coverage", figure=plots.coverage_plot("coverage", coverage, caption="pass@k over k, with bands.")),
        section(
            "Training",
            "First seed. The curves are not comparable in height: the arms predict different text.",
            figure=plots.curves_plot("loss", losses, x_label="step", y_label="loss, nats per target token", first=1),
        ),
        section(
            "How it was made",
            HOW.format(c=c, o=outcome, source=c.start_source, stop=stop, seconds=seconds, problems=len(outcome.mined)),
        ),
    ]
    title = "Learning from one's own mistakes"
    folder = pathlib.Path(c.output)
    path = write_report(Report(title, sections, verdict), folder)
    numbers = {
        "settings": dataclasses.asdict(c),
        "arms": {name: {row.k: [row.pass_at_k, row.maj_at_k] for row in rows} for name, rows in coverage.items()},
        "prefix_gap": prefix,
        "mistake_tuning_less_right_only": against,
        "start_steps": outcome.start_steps,
        "seconds": outcome.seconds,
    }
    write_whole(folder / "results.json", json.dumps(numbers, indent=1))
    return path


def _first(measured: Measured) -> np.ndarray:
    return per_problem(measured, 1)[0]


def _passes(runs: list[ArmRun]) -> np.ndarray:
    """pass@1, `[seeds, N]`."""
    return np.stack([_first(run.measured) for run in runs])


def _intervals(rows: list[CoverageRow], k: int) -> dict[str, Interval]:
    return {"pass@1": rows[0].pass_at_k, f"pass@{k}": rows[-1].pass_at_k, f"maj@{k}": rows[-1].maj_at_k}


def _verdict(prefix: Interval, against: Interval) -> str:
    """Two sentences that follow the intervals, whoever they favour."""
    clear = lambda x: x.low > 0 or x.high < 0
    tells = "learnt" if prefix.low > 0 else "did not learn"
    first = f"Mistake tuning {tells} to tell its prefixes apart (pass@1 correct less incorrect: {prefix})."
    if not clear(against):
        second = "It cannot be told from right-only training at equal forward positions"
    else:
        second = (
            f"It did {'better' if against.low > 0 else 'worse'} than right-only training at equal forward positions"
        )
    return f"{first} {second} (pass@1 difference: {against})."
