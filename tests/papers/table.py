"""The table docs/papers.toml, the module that makes its page, and what is wrong with a command of it."""

import importlib
import pathlib
import re

import pytest

from tests.test_documented_commands import faults

ROOT = pathlib.Path(__file__).parents[2]

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / "docs" / "site"))
    papers = importlib.import_module("papers")

TABLE = papers.read()
COMMANDS = sorted({one["command"] for part in TABLE.values() for one in part if "command" in one})
_COMMAND = re.compile(r"python -m mtjax\.(\w+)((?: \S+)*)")
_PROGRAM = re.compile(r"python (docs/examples/papers/\w+\.py)((?: \S+)*)")


def words_of(command):
    """The name of a command and its words; "" for a program of docs/examples."""
    found = _COMMAND.fullmatch(command)
    return (found[1], found[2].split()) if found else ("", [])


def faults_of(command):
    """What is wrong with it, seen without running it."""
    if program := _PROGRAM.fullmatch(command):
        return [] if (ROOT / program[1]).exists() else [f"there is no {program[1]}"]
    if not _COMMAND.fullmatch(command):
        return [f"not one command: {command}"]
    name, words = words_of(command)
    return faults(name, " ".join(words))
