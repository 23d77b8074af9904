"""The report of a run of rounds: pass@k over rounds, kinds of errors, answers that flipped, and what it cost."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.errors import InputError
from mtjax.evaluation.coverage import pass_at_k
from mtjax.evaluation.transitions import slips_table, transitions
from mtjax.io.files import write_text
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval
from mtjax.reporting.markdown import code_block, escape, markdown_of
from mtjax.reporting.plots import Curve, panels_plot
from mtjax.reporting.report import Cell, Figure, Report, Section, Table, format_table, write_report
from mtjax.runs.rounds.folder import LINES, SUMMARY
from mtjax.runs.rounds.measuring import FOLDER, Answers, read, read_metrics

EXAMPLES = 4
"""Most problems that are shown of each kind of flip."""


class Run(NamedTuple):
    """What a run of rounds left in its folder."""

    name: str  # of the folder
    lines: list[dict[str, Any]]  # of rounds.jsonl
    measured: dict[int, Answers]  # held-out answers, by round
    summary: Mapping[str, Any]  # of rounds.json; empty while the run goes on
    metrics: Mapping[int, Mapping[str, Interval]] = {}  # what else was computed, by round

    @property
    def ks(self) -> list[int]:
        """The k of pass@k that were measured."""
        found: Mapping[str, float] = next((line["measured"] for line in self.lines if line.get("measured")), {})
        return [int(name.removeprefix("pass@")) for name in found]

    def passes(self, number: int, k: int) -> np.ndarray:
        """pass@k of each held-out problem after a round."""
        right = self.measured[number].right
        return np.asarray(pass_at_k(right.shape[1], right.sum(axis=1), k))


def read_run(folder: str | pathlib.Path) -> Run:
    """The run in a folder, which may still be going on; InputError for a folder without rounds."""
    folder = pathlib.Path(folder).expanduser()
    if not (folder / LINES).is_file():
        raise InputError(f"'{folder}' has no {LINES}; expected the run folder of `python -m mtjax.rounds`")
    lines = [json.loads(line) for line in (folder / LINES).read_text(encoding="utf-8").splitlines()]
    numbers = [line["round"] for line in lines if line.get("measured")]
    measured = {number: read(folder / FOLDER / f"{number:04}.jsonl") for number in numbers}
    summary = json.loads((folder / SUMMARY).read_text()) if (folder / SUMMARY).is_file() else {}
    metrics = {number: read_metrics(folder / FOLDER / f"{number:04}.jsonl") for number in numbers}
    return Run(folder.resolve().name, lines, measured, summary, metrics)


def rounds_table(run: Run) -> Table:
    """A row for each round: what was sampled, trained and measured."""
    columns = ["round", *(f"pass@{k}" for k in run.ks), "right", "mixed", "samples", "examples", "updates", "loss"]
    columns += ["tokens sampled", "tokens trained"]
    rows: list[list[Cell]] = []
    for line in run.lines:
        number, trained = line["round"], line.get("trained", {})
        cells: list[Cell] = [number]
        cells += [mean_interval(run.passes(number, k)) if number in run.measured else None for k in run.ks]
        judged = line.get("right", 0) + line.get("wrong", 0)
        cells += [line["right"] / judged if judged else None, line.get("mixed"), line.get("samples")]
        cells += [trained.get("examples"), trained.get("updates"), trained.get("means", {}).get("loss")]
        tokens = trained.get("tokens")
        cells += [line.get("sampled_tokens"), None if tokens is None else int(tokens)]
        rows.append(cells)
    caption = "`right` is the share of judged attempts, `mixed` the problems with both right and wrong ones."
    return Table(columns, rows, caption + (" Brackets are 95 % intervals over problems." if run.ks else ""))


def metrics_table(run: Run) -> Table | None:
    """A row for each metric, a column for each of up to six measured rounds; None without metrics."""
    rounds = sorted(run.metrics)
    shown = [rounds[int(place)] for place in np.unique(np.linspace(0, len(rounds) - 1, 6).round())] if rounds else []
    names = list(dict.fromkeys(name for number in shown for name in run.metrics[number]))
    rows: list[list[Cell]] = [[name, *(run.metrics[number].get(name) for number in shown)] for name in names]
    columns = ["metric", *(f"round {number}" if number else "start" for number in shown)]
    return Table(columns, rows, "Metrics with 95 % intervals over held-out problems.") if rows else None


def difference(run: Run, k: int) -> Interval | None:
    """pass@k of the last measurement less that of the start, paired over problems; None without both."""
    numbers = sorted(run.measured)
    if len(numbers) < 2:
        return None
    return difference_interval(run.passes(numbers[-1], k), run.passes(numbers[0], k))


def lead(run: Run) -> str:
    """The result in a paragraph."""
    last = run.lines[-1]
    said = f"{last['round']} rounds, {last['updates']:,} updates, {last['total_tokens']:,} tokens sampled and trained."
    for k in run.ks:
        if (change := difference(run, k)) is not None:
            first, end = (mean_interval(run.passes(n, k)).mean for n in (min(run.measured), max(run.measured)))
            said += f" pass@{k} went from {first:.3f} to {end:.3f} ({change})."
    return said + (f" The run ended early: {run.summary['why']}." if run.summary.get("why") else "")


def flips(run: Run) -> list[Section]:
    """Problems whose answers were mostly wrong and became mostly right, and the reverse, with an answer of each."""
    numbers = sorted(run.measured)
    before, after = run.measured[numbers[0]], run.measured[numbers[-1]]
    change = after.right.mean(axis=1) - before.right.mean(axis=1)
    out = []
    for heading, sign in (("What it learnt", 1), ("What it lost", -1)):
        order = [int(place) for place in np.argsort(-sign * change, kind="stable") if sign * change[place] > 0.5]
        said = [f"{len(order)} of {len(change)} problems changed by more than half of their answers."]
        for place in order[:EXAMPLES]:
            said.append(f"{escape(before.questions[place])} ({before.ids[place]})")
            for name, answers, wanted in (("start", before, sign < 0), (f"round {numbers[-1]}", after, sign > 0)):
                rows = zip(answers.texts[place], answers.right[place], strict=True)
                text = next((text for text, right in rows if bool(right) == wanted), answers.texts[place][0])
                share = answers.right[place].mean()
                said += [f"{name}, {share:.0%} right:", code_block(text)]
        out.append(Section(heading, "\n\n".join(said)))
    return out


def report_of(run: Run) -> Report:
    """The report of a run. Equal runs give equal reports: seconds are not in it."""
    figures: tuple[Figure, ...] = ()
    if len(run.measured) > 1:
        x = sorted(run.measured)
        panels = {}
        for k in run.ks:
            found = [mean_interval(run.passes(number, k)) for number in x]
            curve = Curve(x, [i.mean for i in found], [i.low for i in found], [i.high for i in found])
            panels[f"pass@{k}"] = {run.name: curve}
        figures = (
            panels_plot(
                "rounds",
                panels,
                x_label="round",
                y_label="share of problems",
                caption="Held-out pass@k, with 95 % intervals.",
            ),
        )
    sections = [Section("Rounds", tables=(rounds_table(run),), figures=figures)]
    if (table := metrics_table(run)) is not None:
        sections.append(Section("Metrics", tables=(table,)))
    if len(run.measured) > 1:
        numbers = sorted(run.measured)
        changes = transitions(run.measured[numbers[0]].labels, run.measured[numbers[-1]].labels)
        sections.append(Section("Kinds of errors, start and end", tables=(slips_table(changes),)))
        sections += flips(run)
    return Report(run.name, sections, lead(run))


def write(folder: str | pathlib.Path) -> pathlib.Path:
    """Write report.html and report.md into a run folder; the path of the page."""
    folder = pathlib.Path(folder)
    report = report_of(read_run(folder))
    write_text(folder / "report.md", markdown_of(report))
    return write_report(report, folder)


def compared(folders: Sequence[str]) -> Table:
    """The ends of several runs side by side; those whose names differ in `-N` at the end are seeds of one.

    Intervals are paired over problems, and of seeds their mean is taken for each problem first. InputError where runs
    were measured on different problems.
    """
    groups: dict[str, list[Run]] = {}
    for folder in folders:
        run = read_run(folder)
        if len(run.measured) < 2:
            raise InputError(f"'{folder}' has not been measured twice; set `measure`, and let it finish a round")
        stem, _, number = run.name.rpartition("-")
        groups.setdefault(stem if stem and number.isdigit() else run.name, []).append(run)
    first = next(iter(groups.values()))[0]
    ids, ks = first.measured[0].ids, first.ks
    rows: list[list[Cell]] = []
    starts = {k: mean_interval(first.passes(0, k)) for k in ks}
    rows.append(["start", None, None, *(cell for k in ks for cell in (starts[k], None)), None, None])
    for name, runs in groups.items():
        cells: list[Cell] = [name, len(runs), runs[0].lines[-1]["round"]]
        for k in ks:
            for run in runs:
                if run.measured[0].ids != ids or k not in run.ks:
                    raise InputError(f"{run.name} was measured on other problems, or for other k, than {first.name}")
            end = np.mean([run.passes(max(run.measured), k) for run in runs], axis=0)
            begun = np.mean([run.passes(0, k) for run in runs], axis=0)
            cells += [mean_interval(end), difference_interval(end, begun)]
        total = [sum(line.get("sampled_tokens", 0) for line in run.lines) for run in runs]
        trained = [sum(line.get("trained", {}).get("tokens", 0) for line in run.lines) for run in runs]
        rows.append([*cells, int(np.mean(total)), int(np.mean(trained))])
    columns = ["run", "seeds", "rounds", *(name for k in ks for name in (f"pass@{k}", f"pass@{k} less start"))]
    caption = "Means over seeds and problems with 95 % intervals over problems; tokens are means over seeds."
    return Table([*columns, "tokens sampled", "tokens trained"], rows, caption)


def watched(run: Run) -> str:
    """What `--watch` shows."""
    last = run.lines[-1]
    state = "ended" if run.summary else "going on"
    return f"{run.name}: {state} after round {last['round']}\n\n{format_table(rounds_table(run))}\n\n{lead(run)}"
