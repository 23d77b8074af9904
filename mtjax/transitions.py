"""Compare the errors of two models on the same problems: which went away, which appeared, and what became what.

BEFORE and AFTER are folders of mined solutions (`python -m mtjax.mine`). Prints one row for each kind of error, and the
table of transitions; `mtjax/evaluation/transitions.py` defines both.
"""

import dataclasses
import sys
from typing import Annotated

from annotated_types import Gt, Lt

from mtjax.data.sources.mined import read_mined
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.transitions import format_transitions, label_mined, transitions
from mtjax.io.command_line import command, split_options


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransitionsConfig:
    """Options of the command."""

    level: Annotated[float, Gt(0), Lt(1)] = 0.95  # Share of the intervals, such as 0.95.


@command("BEFORE AFTER [--level=0.95]", options=TransitionsConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, folders = split_options(TransitionsConfig, words, "python -m mtjax.transitions BEFORE AFTER")
    if len(folders) != 2 or any(word.startswith("-") for word in folders):
        raise InputError(f"got {folders}: expected two folders of mined solutions, BEFORE and AFTER, and --level=0.95")
    before, after = (label_mined(read_mined(folder)) for folder in folders)
    print(format_transitions(transitions(before, after), level=options.level))
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
