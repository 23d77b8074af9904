"""Run an experiment: it trains, measures and writes one report.

CONFIG is a Python file with `recipe = Demo(...)`, `Coverage(...)` or `Comparison(...)`, such as configs/demo.py.
"""

import sys
from typing import Any

import tyro

from mtjax.config import parse, read_module
from mtjax.distributed.hosts import check_one_host
from mtjax.errors import ExitCode, InputError
from mtjax.experiments.recipes import RECIPES
from mtjax.io.command_line import command


@command("CONFIG [overrides]", before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    recipe = getattr(read_module(words[0]), "recipe", None)
    kind: Any = type(recipe)
    if kind not in RECIPES:
        raise InputError(
            f"{words[0]} defines no `recipe = Comparison(...)`, `Coverage(...)` or `Demo(...)`; see configs/"
        )
    one_level: Any = tyro.conf.CascadeSubcommandArgs
    recipe = parse(recipe, words[1:], f"python -m mtjax.recipe {words[0]}", one_level[kind])
    print(f"report: {RECIPES[kind](recipe)}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
