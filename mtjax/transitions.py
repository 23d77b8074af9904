"""Which slips went away and which came: `python -m mtjax.transitions BEFORE AFTER [--level=0.95]`.

BEFORE and AFTER are folders of mined solutions (`python -m mtjax.mine`) of two models to the same problems. Prints a
row for each kind of slip, and the table of what became what; `mtjax/evaluation/transitions.py` says how they are
counted.
"""

import sys
from collections.abc import Sequence

from mtjax.data.sources.mined import read_mined
from mtjax.errors import ExitCode, InputError, entry_point
from mtjax.evaluation.transitions import format_transitions, label_mined, transitions


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "--help-all"):
        print(__doc__)
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    level = next((word.partition("=")[2] for word in argv if word.startswith("--level=")), "0.95")
    folders = [word for word in argv if not word.startswith("--level=")]
    if len(folders) != 2 or any(word.startswith("-") for word in folders):
        raise InputError(f"got {folders}: expected two folders of mined solutions, BEFORE and AFTER, and --level=0.95")
    try:
        share = float(level)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise InputError(f"--level={level}: expected a number between 0 and 1, the share of the intervals")
    before, after = (label_mined(read_mined(folder)) for folder in folders)
    print(format_transitions(transitions(before, after), level=share))
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
