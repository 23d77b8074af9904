"""The report of a grid, made from its journal: what helps, the effects of each slice, every cell, and cost."""

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from mtjax.errors import InputError
from mtjax.experiments.about import made_by
from mtjax.experiments.cells import JOURNAL, read_journal
from mtjax.experiments.config import Map
from mtjax.experiments.effects import Effect, Main, Runs, contrasts, effects, main_effects
from mtjax.experiments.grid import BASELINE, IN, OUT, Grid
from mtjax.io.files import write_text
from mtjax.reporting.intervals import Interval
from mtjax.reporting.markdown import markdown_of
from mtjax.reporting.plots import Arm, Curve, arms_plot, panels_plot
from mtjax.reporting.report import Cell, Figure, Report, Section, Table, format_table, write_report

MARKS = ("<!-- results: made by mtjax.recipe from here -->", "<!-- results: to here -->")
"""The lines of a page between which the results stand."""
EFFECTS = "effects.jsonl"
DECODINGS = {f"{IN}@contrast": "contrast", IN: "right prefix", f"{IN}@none": "no prefix"}
PICTURES = "pictures"  # beside the page; those of an experiment are in a folder with the name of its `output`


def write(c: Map, grid: Grid, command: str = "") -> pathlib.Path:
    """Make the report from the journal in `output`, complete or not; returns the path of the page.

    Beside it: `report.md`, `effects.jsonl` with every comparison, and with `c.page` the results in that Markdown file.

    Raises:
        InputError: no journal, or a page without `MARKS`.
    """
    folder = pathlib.Path(c.output)
    runs = read_journal(folder / JOURNAL)
    found = effects(runs, list(contrasts(grid, list(c.tests), max(c.ks), c.line)))
    sections = _sections(c, grid, runs, found)
    lead = _lead(c, grid, runs, found)
    about = (made_by(command),) if command else ()
    report = Report(grid.title, [*sections, *about], lead)
    print("", format_table(sections[0].tables[0]), lead, sep="\n\n")
    page = write_report(report, folder)
    write_text(folder / "report.md", markdown_of(report))
    write_text(folder / EFFECTS, "".join(json.dumps(_record(one, c.level)) + "\n" for one in found))
    if c.page:
        place = f"{PICTURES}/{folder.name}"
        fill(pathlib.Path(c.page), markdown_of(Report("", sections, lead), place).replace("\n## ", "\n### "))
        pictures = pathlib.Path(c.page).parent / place
        pictures.mkdir(parents=True, exist_ok=True)
        for figure in (figure for part in sections for figure in part.figures):
            (pictures / f"{figure.name}.png").write_bytes(figure.light)
    return page


def fill(page: pathlib.Path, results: str) -> None:
    """Put the results between the marks of a page, in place of what stands there."""
    text = page.read_text() if page.is_file() else ""
    if text.count(MARKS[0]) != 1 or text.count(MARKS[1]) != 1:
        raise InputError(f"--page={page}: expected a file with the lines '{MARKS[0]}' and '{MARKS[1]}', once each")
    head, _, rest = text.partition(MARKS[0])
    write_text(page, f"{head}{MARKS[0]}\n\n{results.strip()}\n\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


def _lead(c: Map, grid: Grid, runs: Runs, found: Sequence[Effect]) -> str:
    """How much of the grid is there, and the count of each verdict."""
    there = sum(name in runs and set(c.seeds) <= set(runs[name]) for name in grid.cells)
    main = [one for one in found if one.contrast.main]
    count = {word: sum(one.verdict(c.level) == word for one in main) for word in ("helps", "hurts", "unclear")}
    part = "" if there == len(grid.cells) else " The map is not complete, and its numbers are not final."
    return (
        f"{there} of {len(grid.cells)} cells have all of the seeds {c.seeds}.{part} Of {len(main)} main comparisons "
        f"with right-only training, {count['helps']} help, {count['hurts']} hurt and {count['unclear']} are unclear "
        f"(Holm-adjusted p at most {c.level:g}, and the same sign in every seed)."
    )


def _sections(c: Map, grid: Grid, runs: Runs, found: Sequence[Effect]) -> list[Section]:
    sections = [Section("What helps", "\n".join(_sentences(c, grid, found)), (_by_method(c, grid, found),))]
    for name, own in grid.slices.items():
        effect = main_effects(grid, runs, name)
        if "line" in own.measures:
            figures = _line_figure(c, grid, runs, name)
        else:
            figures = _decodings_figure(grid, found, name) if "decodings" in own.measures else _figure(name, effect)
        tables = (_main_table(effect),) if effect else ()
        if tables or figures:
            sections.append(Section(name.capitalize(), own.question, tables, figures))
    sections.append(Section("Every cell", EVERY, (_cells(c, grid, runs, found),)))
    other = [one for one in found if not one.contrast.main]
    central = {name for name, cell in grid.cells.items() if "line" in grid.measures(cell)}
    asked = {
        "the start": lambda one: one.k == 1 and one.cell in central,
        "equal positions": lambda one: "@" in one.test,
    }
    shown = [one for one in other if asked.get(one.contrast.says, lambda _: True)(one.contrast)]
    text = f"Of {len(other)} comparisons the table has the decodings, the line, and the change of pass@1 against the "
    text += f"start where the line was measured; all are in `{EFFECTS}`."
    sections.append(Section("Other comparisons", f"{OTHER} {text}", (_effects(shown, c.level),)))
    return [*sections, _cost(runs)]


EVERY = """\
pass@1, the mean over seeds and problems. The difference is that to right-only training on the same problems and start,
with its interval over problems; p is Holm's, and the last column holds the difference of each seed."""
OTHER = "Exploratory: p is Benjamini and Hochberg's, over all of them together."


def _sentences(c: Map, grid: Grid, found: Sequence[Effect]) -> list[str]:
    """A sentence for each slice, which names the cells of its verdicts."""
    lines = []
    for name in grid.slices:
        own = {cell.name for cell in grid.cells_of(name)}
        main = [one for one in found if one.contrast.main and one.contrast.cell in own]
        if not main:
            continue
        told = []
        for word in ("helps", "hurts"):
            cells = [f"{one.contrast.cell} ({one.contrast.test}, {one.contrast.says}: {100 * one.interval.mean:+.1f})"
                     for one in main if one.verdict(c.level) == word]  # fmt: skip
            told.append(f"{word} in {len(cells)}" + (f": {'; '.join(cells)}" if cells else ""))
        lines.append(f"- **{name}**: of {len(main)} comparisons, learning from mistakes {', and '.join(told)}.")
    return lines


def _by_method(c: Map, grid: Grid, found: Sequence[Effect]) -> Table:
    rows: list[list[Cell]] = []
    for method in grid.methods:
        for test in (IN, OUT):
            own = [one for one in found if one.contrast.main and one.contrast.test == test
                   and grid.cells[one.contrast.cell].method == method]  # fmt: skip
            verdicts = [one.verdict(c.level) for one in own]
            if own:
                rows.append([method, test, *(verdicts.count(word) for word in ("helps", "unclear", "hurts"))])
    caption = (
        "Main comparisons by method and test set; those of a cell at equal positions and at equal right tokens both "
    )
    return Table(("method", "test", "helps", "unclear", "hurts"), rows, f"{caption}count.")


def _main_table(effect: Sequence[Main]) -> Table:
    rows: list[list[Cell]] = [
        [one.method, one.factor, one.level, one.cells, one.intervals.get(IN), one.intervals.get(OUT)] for one in effect
    ]
    caption = "pass@1 less that of right-only training at equal positions, the mean over the cells with this level; "
    caption += "intervals over problems, not adjusted."
    return Table(("method", "factor", "level", "cells", IN, OUT), rows, caption)


def _figure(name: str, effect: Sequence[Main]) -> tuple[Figure, ...]:
    """The main effects as intervals around 0, method by method, each in its colour."""
    if not effect:
        return ()
    zero = Interval(0.0, 0.0, 0.0, 0.95)
    arms = [Arm(BASELINE, {IN: zero, OUT: zero})]
    for color, method in enumerate(dict.fromkeys(one.method for one in effect), 1):
        own = [one for one in effect if one.method == method and len(one.intervals) == 2]
        label = lambda one: f"{one.method}, {one.factor.replace('_', ' ')} {one.level}"
        arms += [Arm(label(one), one.intervals, color=color) for one in own]
    caption = f"{name}: pass@1 less that of right-only training."
    return (arms_plot(f"map-{_slug(name)}", arms, (IN, OUT), caption=caption, axis="difference in pass@1"),)


def _decodings_figure(grid: Grid, found: Sequence[Effect], name: str) -> tuple[Figure, ...]:
    """Each cell of a slice as each decoding measures it, as intervals around 0."""
    rows = [Arm(BASELINE, {IN: Interval(0.0, 0.0, 0.0, 0.95)})]
    for cell in grid.cells_of(name):
        asked = cell.name, "equal positions", 1
        own = {one.contrast.test: one.interval for one in found
               if (one.contrast.cell, one.contrast.says, one.contrast.k) == asked}  # fmt: skip
        for color, (test, how) in enumerate(DECODINGS.items(), 1):
            if test in own:
                rows.append(Arm(f"{cell.name}: {how}", {IN: own[test]}, color=color))
    caption = f"{name}: pass@1 less that of right-only training."
    options: dict[str, Any] = {"caption": caption, "axis": "difference in pass@1"}
    return (arms_plot(f"map-{_slug(name)}", rows, (IN,), **options),) if rows[1:] else ()


def _line_figure(c: Map, grid: Grid, runs: Runs, name: str) -> tuple[Figure, ...]:
    """pass@1 and pass@k between start and end; one curve for each method."""
    panels: dict[str, dict[str, Curve]] = {}
    for test, k in ((IN, 1), (IN, max(c.ks)), (OUT, 1)):
        curves = {}
        for cell in grid.cells_of(name):
            own, start = runs.get(cell.name), runs.get(f"start,{cell.start}")
            if own and start:
                at = [next(iter(start.values())).passes(test, k).mean()]
                keys = [*(f"{test}@{place:g}" for place in c.line), test]
                at += [sum(run.passes(key, k).mean() for run in own.values()) / len(own) for key in keys]
                curves[cell.method] = Curve([0.0, *c.line, 1.0], [float(value) for value in at])
        if curves:
            panels[f"pass@{k} {test}"] = curves
    caption = f"{name}: from the start (0) to the end of training (1); the mean over seeds."
    options: dict[str, Any] = {"x_label": "place between start and end", "y_label": "share", "caption": caption}
    return (panels_plot(f"map-{_slug(name)}", panels, **options),) if panels else ()


def _cells(c: Map, grid: Grid, runs: Runs, found: Sequence[Effect]) -> Table:
    by = {(one.contrast.cell, one.contrast.test): one for one in found
          if one.contrast.main and one.contrast.says == "equal positions"}  # fmt: skip
    rows: list[list[Cell]] = []
    for name, own in runs.items():
        for test in (IN, OUT):
            one, some = by.get((name, test)), next(iter(own.values()))
            value = float(sum(run.passes(test, 1).mean() for run in own.values()) / len(own))
            rest: list[Cell] = [None, None, "", ""]
            if one is not None:
                seeds = " ".join(f"{100 * each:+.1f}" for each in one.seeds)
                rest = [one.interval, one.adjusted, one.verdict(c.level), seeds]
            rate = "" if some.rate is None else f"{some.rate:g}"
            rows.append([name, test, rate, len(own), value, *rest])
    columns = ("cell", "test", "rate", "seeds", "pass@1", "difference", "p", "verdict", "points by seed")
    return Table(columns, rows)


def _effects(found: Sequence[Effect], level: float) -> Table:
    rows: list[list[Cell]] = [
        [one.contrast.cell, one.contrast.test, f"pass@{one.contrast.k}", one.contrast.says, one.interval, one.adjusted,
         one.verdict(level)]
        for one in found
    ]  # fmt: skip
    return Table(("cell", "test", "measure", "against", "difference", "p", "verdict"), rows)


def _cost(runs: Runs) -> Section:
    """What was spent, and what failed."""
    every = [run for own in runs.values() for run in own.values()]
    seconds = {name: sum(run.seconds.get(name, 0.0) for run in every) for name in ("train", "measure")}
    failed = [f"{run.cell} (seed {run.seed}): {run.diverged}" for run in every if run.diverged]
    text = (
        f"{len(every)} runs, {seconds['train']:.0f} s of training and {seconds['measure']:.0f} s of measuring on the "
    )
    text += "clock, start models, mining and the choice of learning rates not counted. "
    text += f"Diverged, and counted as wrong everywhere: {'; '.join(failed)}." if failed else "No run diverged."
    costs: dict[str, list[float]] = {}
    for run in every:
        names = ("updates", "positions", "reference_positions", "right_tokens")
        if run.cost and run.cell not in costs:
            costs[run.cell] = [run.cost[name] for name in names]
    rows: list[list[Cell]] = [[name, *(f"{value:,.0f}" for value in values)] for name, values in costs.items()]
    columns = ("cell", "updates", "positions", "positions of a reference", "right target tokens")
    return Section("Cost", text, (Table(columns, rows, "Of the first seed of each cell."),))


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _record(one: Effect, level: float) -> dict[str, object]:
    verdict = {"seeds": one.seeds, "p": one.p, "adjusted": one.adjusted, "verdict": one.verdict(level)}
    return one.contrast._asdict() | {"interval": list(one.interval)} | verdict
