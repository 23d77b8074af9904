"""Train a model. Run again, the same command resumes where the run stopped.

CONFIG is a Python file, such as configs/tiny.py; `python -m mtjax.train CONFIG --help` lists every setting with its
value, `--help-all` explains each, and an override such as `--optim.learning_rate=1e-3` or `objective:nll` changes it.
"""

import signal
import sys
from typing import Any

from mtjax import config as settings
from mtjax.distributed import hosts
from mtjax.errors import ExitCode, Terminated
from mtjax.io.command_line import command
from mtjax.runs.folder import saved_in
from mtjax.runs.loop import train

__all__ = ["main", "train"]


@command("CONFIG [overrides]")
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    signal.signal(signal.SIGTERM, _terminate)  # outside of the training loop, which saves first
    with hosts.session():
        config = settings.load(words[0], words[1:])
        try:
            return train(config).exit_code
        except (Terminated, KeyboardInterrupt) as stop:
            by_hand, saved = isinstance(stop, KeyboardInterrupt), saved_in(config)
            if not saved:
                raise Terminated(
                    str(stop) or NOTHING, ExitCode.INTERRUPTED if by_hand else ExitCode.TERMINATED
                ) from None
            text = f"step {saved[-1]} is saved; the same command goes on from there"
            raise Terminated(text, ExitCode.INTERRUPTED if by_hand else ExitCode.STOPPED) from None


NOTHING = "before the first step; nothing was saved, and the same command starts again"


def _terminate(*_: Any) -> None:
    raise Terminated(NOTHING)


if __name__ == "__main__":
    sys.exit(main())
