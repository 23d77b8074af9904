"""Run an experiment: it trains, measures and writes one report.

CONFIG is a Python file with `recipe = Demo(...)`, `Coverage(...)`, `Comparison(...)` or `Map(...)`, and a function
`experiment` of these settings, such as configs/demo.py.
"""

import shlex
import sys
from typing import Any

import tyro

from mtjax.config import parse, read_module
from mtjax.distributed.hosts import check_one_host
from mtjax.errors import ExitCode, InputError, suggest
from mtjax.experiments import map_report, map_runner
from mtjax.experiments.experiment import FILES, experiment_of
from mtjax.experiments.findings import Findings
from mtjax.experiments.grid import Grid
from mtjax.experiments.report import SECTIONS, write
from mtjax.experiments.runner import run
from mtjax.io.command_line import command
from mtjax.io.progress import say


@command("CONFIG [overrides]", before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    module = read_module(words[0])
    recipe = getattr(module, "recipe", None)
    kind: Any = type(recipe)
    if kind not in FILES:
        raise InputError(
            f"{words[0]} defines no `recipe = Comparison(...)`, `Coverage(...)`, `Demo(...)` or `Map(...)`; see "
            "configs/"
        )
    one_level: Any = tyro.conf.CascadeSubcommandArgs
    recipe = parse(recipe, words[1:], f"python -m mtjax.recipe {words[0]}", one_level[kind])
    experiment = experiment_of(module, recipe)
    called = shlex.join(["python", "-m", "mtjax.recipe", *words])
    if isinstance(experiment, Grid):
        map_runner.run(recipe, experiment, say)
        print(f"report: {map_report.write(recipe, experiment, called)}")
        return ExitCode.DONE
    for name in experiment.sections:
        if name not in SECTIONS:
            raise InputError(f"there is no section '{name}' of a report; {suggest(name, SECTIONS)}")
    outcome = run(recipe, experiment, say)
    print(f"report: {write(Findings(recipe, experiment, outcome), called)}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
