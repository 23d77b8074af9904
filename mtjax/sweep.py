"""Train a config with every combination of some settings and several seeds, and compare the runs.

CONFIG is a config file. `--grid optim.learning_rate=1e-3,5e-3 --seeds=3` are six runs. Run again, the same command goes
on where it stopped. At the end it prints the tables of `mtjax.plot` and writes its report into the folder of the sweep.
"""

import pathlib
import sys

from mtjax.distributed.hosts import check_one_host
from mtjax.errors import InputError
from mtjax.experiments.curves import read_runs, report, tables
from mtjax.experiments.sweep import SweepConfig, run
from mtjax.io.command_line import command, split_options
from mtjax.reporting.report import format_table, write_report


@command("CONFIG --grid NAME=VALUE,VALUE [--seeds=N] [options] [overrides]", options=SweepConfig, before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, overrides = split_options(SweepConfig, words[1:], "python -m mtjax.sweep CONFIG")
    if given := [word for word in overrides if word.lstrip("-").startswith(("run_dir", "export="))]:
        raise InputError(f"{given[0]}: each run of a sweep has a folder of its own; use --output for the sweep")
    code = run(words[0], overrides, options)
    folder = pathlib.Path(options.output).expanduser()
    done = [str(file.parent) for file in sorted(folder.glob("*/metrics.jsonl")) if file.stat().st_size]
    if done:
        runs = read_runs(done)
        for table in tables(runs):
            print(format_table(table), end="\n\n")
        print(f"wrote {write_report(report(runs), folder / 'plots')}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
