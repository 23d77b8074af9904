"""Run a recipe: `python -m mtjax.recipe CONFIG [overrides]`; it trains, measures and writes one report."""

import sys
from collections.abc import Sequence
from typing import Any

import tyro

from mtjax.config import parse, read_module
from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.experiments.recipes import RECIPES
from mtjax.runs.compiled import keep_compiled


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m mtjax.recipe CONFIG [overrides]\n\nCONFIG is a Python file, such as configs/demo.py")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    recipe = getattr(read_module(argv[0]), "recipe", None)
    kind: Any = type(recipe)
    if kind not in RECIPES:
        raise InputError(
            f"{argv[0]} defines no `recipe = Comparison(...)`, `Coverage(...)` or `Demo(...)`; see configs/"
        )
    one_level: Any = tyro.conf.CascadeSubcommandArgs
    recipe = parse(recipe, argv[1:], f"python -m mtjax.recipe {argv[0]}", one_level[kind])
    keep_compiled()
    print(f"report: {RECIPES[kind](recipe)}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
