"""Train a model: `python -m mtjax.train CONFIG [overrides]`. Run again, it goes on where it stopped."""

import signal
import sys
from collections.abc import Sequence

from mtjax import config as settings
from mtjax.distributed import hosts
from mtjax.errors import ExitCode, entry_point
from mtjax.runs.compiled import keep_compiled
from mtjax.runs.loop import train


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m mtjax.train CONFIG [overrides]\n\nCONFIG is a Python file, such as configs/tiny.py;")
        print("`python -m mtjax.train CONFIG --help` lists every setting with its value.")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    # Before the first step there is nothing to save: SIGTERM ends the process as cleanly. Ctrl-C does by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.DONE))
    with hosts.session():
        config = settings.load(argv[0], argv[1:])
        keep_compiled()
        return train(config).exit_code


if __name__ == "__main__":
    sys.exit(main())
