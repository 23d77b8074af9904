"""The command `mtjax`, also as `python -m mtjax`: it lists the commands, and runs one of them by its name.

`mtjax train CONFIG` is `python -m mtjax.train CONFIG`.
"""

import ast
import importlib
import pathlib
import re
import sys
from collections.abc import Sequence

import mtjax
from mtjax.errors import ExitCode, InputError, entry_point, suggest

HELP = ("-h", "--help", "--help-all", "help")


def commands() -> dict[str, str]:
    """Every command with the first sentence of its module's docstring; nothing is imported for it."""
    found = {}
    for file in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            first = (ast.get_docstring(tree) or "").partition("\n\n")[0]
            found[file.stem] = re.split(r"\.\s|: `|\.$", " ".join(first.split()))[0].replace("`", "")
    return found


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code of the one that it runs."""
    words = list(sys.argv[1:] if argv is None else argv)
    known = commands()
    if not words or words[0] in HELP:
        width = max(map(len, known))
        print("usage: mtjax COMMAND ..., or python -m mtjax.COMMAND ...\n\ncommands:")
        print(*(f"  {name:<{width}}  {about}" for name, about in known.items()), sep="\n")
        print("\n`mtjax COMMAND --help` lists the settings of a command.")
        return ExitCode.DONE
    if words[0] in ("--version", "-V"):
        print(f"mtjax {mtjax.__version__}")
        return ExitCode.DONE
    if words[0] not in known:
        raise InputError(f"unknown command '{words[0]}': {suggest(words[0], known)}")
    return int(importlib.import_module(f"mtjax.{words[0]}").main(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
