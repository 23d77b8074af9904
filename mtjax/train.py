"""Train a model. Run again, the same command resumes where the run stopped.

CONFIG is a Python file, such as configs/tiny.py; `python -m mtjax.train CONFIG --help` lists every setting with its
value, `--help-all` explains each, and an override such as `--optim.learning_rate=1e-3` or `objective:nll` changes it.
"""

import signal
import sys

from mtjax import config as settings
from mtjax.distributed import hosts
from mtjax.errors import ExitCode
from mtjax.io.command_line import command
from mtjax.runs.loop import train

__all__ = ["main", "train"]


@command("CONFIG [overrides]")
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    # Before the first step there is nothing to save: SIGTERM ends the process as cleanly. Ctrl-C does by itself.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.DONE))
    with hosts.session():
        return train(settings.load(words[0], words[1:])).exit_code


if __name__ == "__main__":
    sys.exit(main())
