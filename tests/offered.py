"""What each command offers in its help: options, choices such as `objective:dpo`, and the options of each choice.

`python -m tests.offered FOLDER` writes one list per command, `FOLDER/NAME.txt`.
"""

import contextlib
import io
import os
import pathlib
import re
import runpy
import sys
import unittest.mock
import warnings

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"
COMMANDS = {
    "train": ["train", str(CONFIGS / "tiny.py")],
    "mine": ["mine", "smollm2"],
    "rethink": ["rethink", "smollm2"],
    "evaluate": ["evaluate", "smollm2"],
    "inject": ["inject"],
    "generate": ["generate"],
    "recipe_demo": ["recipe", str(CONFIGS / "demo.py")],
    "recipe_compare": ["recipe", str(CONFIGS / "compare.py")],
    "recipe_coverage": ["recipe", str(CONFIGS / "coverage.py")],
    "explain": ["explain"],
    "plan": ["plan"],
    "transitions": ["transitions"],
}
"""The name of each list, and the words that its command's `--help-all` stands behind."""

HELP = "--help-all"  # The short one of `--help` has all names too, but not one by one.

OPTIONS = re.compile(r"(?:^│ |^  |\[)((?:--[\w.]+(?:, )?)+)", re.MULTILINE)
"""A line that opens with an option, or with both forms of a switch; `[--level=0.95]` in a usage line."""
CHOICES = re.compile(r"^│? +• ([\w.]+:[\w-]+)", re.MULTILINE)


def help_of(command, *words):
    """What `python -m mtjax.COMMAND WORDS --help-all` prints, in this process."""
    before, said, ended = sys.argv, io.StringIO(), 0
    sys.argv = [command, *words, HELP]
    try:
        wide = unittest.mock.patch.dict(os.environ, COLUMNS="120")  # wider, and there would be two columns
        with wide, contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)  # it ran before
            runpy.run_module(f"mtjax.{command}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        ended = stop.code or 0
    finally:
        sys.argv = before
    assert ended == 0, f"{command} {words} {HELP} ended with {ended}"
    return said.getvalue()


def offered(name):
    """The options and choices of one command; an option of a choice stands behind it: `objective:dpo --objective.beta`.

    Choices of different parts are asked about together, until every one was chosen once.
    """
    command, *words = COMMANDS[name]
    found, within, asked, chosen = set(), {}, set(), {}
    while True:
        said = help_of(command, *words, *chosen.values())
        options = [option for line in OPTIONS.findall(said) for option in line.split(", ")]
        found |= {_behind(option, chosen) for option in options}
        asked |= set(chosen.values())
        for choice in CHOICES.findall(said):  # `held_out.source:jsonl` is within `held_out:held_out`
            within.setdefault(choice, [own for part, own in chosen.items() if choice.startswith(f"{part}.")])
        chosen = {}
        for choice in (choice for choice in within if choice not in asked):
            line = {_part(own): own for own in (*within[choice], choice)}
            if all(chosen.get(part, own) == own for part, own in line.items()):
                chosen |= line
        if not chosen:
            return sorted(found | within.keys())


def _part(choice):
    return choice.partition(":")[0]


def _behind(option, chosen):
    """The option, behind the innermost choice that it is an option of."""
    parts = [part for part in chosen if option.startswith(f"--{part}.")]
    return f"{chosen[max(parts, key=len)]} {option}" if parts else option


if __name__ == "__main__":
    for name in COMMANDS:
        (pathlib.Path(sys.argv[1]) / f"{name}.txt").write_text("".join(f"{line}\n" for line in offered(name)))
