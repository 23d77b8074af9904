"""Draw the curves of runs and compare them.

RUN is a run folder. Prints the settings that differ, the results and the curves; writes report.html and a PNG for each
metric. Runs that differ in the seed alone are also shown as a mean with an interval.
"""

import dataclasses
import os
import pathlib
import shutil
import sys
from typing import Annotated, Any

from annotated_types import Gt, Lt

from mtjax.errors import ExitCode, InputError
from mtjax.experiments.curves import curves_of, read_runs, report, tables
from mtjax.io.command_line import command, split_options
from mtjax.io.progress import progress
from mtjax.reporting.report import format_table, write_report
from mtjax.reporting.terminal_plot import terminal_plot
from mtjax.validation import PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlotConfig:
    """Options of `python -m mtjax.plot`."""

    output: str | None = None  # Folder for report.html and pictures; None is `plots` in the run, or beside the runs.
    metrics: tuple[str, ...] = ()  # What to draw, by the names of metrics.jsonl; empty takes losses, rates, measures.
    x: str = "step"  # What to draw it over: step, data/epoch, data/tokens or another name.
    smooth: PositiveInt = 1  # Draw the mean of so many lines.
    each: bool = False  # Draw each run also where several differ in the seed alone.
    level: Annotated[float, Gt(0), Lt(1)] = 0.95  # Confidence level of the intervals over seeds.


@command("RUN [RUN ...] [options]", options=PlotConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, folders = split_options(PlotConfig, words, "python -m mtjax.plot RUN")
    if not folders or any(word.startswith("-") for word in folders):
        raise InputError(f"got {' '.join(folders) or 'no run'}: expected run folders, such as runs/tiny")
    runs = read_runs(folders)
    together = pathlib.Path(os.path.commonpath([run.folder.absolute() for run in runs]))
    output = pathlib.Path(options.output).expanduser() if options.output else together / "plots"
    if output.is_file():
        raise InputError(f"--output={output} is a file; expected a folder, or the name of a new one")
    how: dict[str, Any] = {"x": options.x, "smooth": options.smooth, "each": options.each}
    for table in tables(runs, options.level):
        print(format_table(table), end="\n\n")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    for name, curves in curves_of(runs, options.metrics, **how).items():
        print(terminal_plot(f"{name} over {options.x}", curves, width=width), end="\n\n")
    with progress("drawing", None):
        page = write_report(report(runs, options.metrics, level=options.level, **how), output)
    print(f"wrote {page} and a PNG for each metric")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
