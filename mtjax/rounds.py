"""Sample, grade, curate, train, measure, and again: `python -m mtjax.rounds CONFIG [overrides]`.

CONFIG is a Python file with `rounds = Rounds(...)`, such as configs/rounds_rejection.py. Overrides are settings of it:
`--rounds=5`, `curation:pairs`, `--train.seed=1`. The run folder (`train.run_dir`) gets the attempts of every round, the
measurements, rounds.jsonl, checkpoints and a report; run again after a kill, the same command goes on and gives the
same bytes. Other commands take the folder as a model: `python -m mtjax.evaluate RUN --step=2` is that of round 2.

`--watch RUN` shows a run, also while it goes on. `--compare RUN RUN ...` puts several side by side; folders that differ
in a number at the end, such as runs/grpo-0 and runs/grpo-1, are seeds of one.
"""

import sys
import time
from typing import Any

import tyro

from mtjax.config import parse, read_module
from mtjax.distributed import hosts
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command
from mtjax.reporting.report import format_table
from mtjax.runs.rounds import report
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.rounds.loop import run


def read_settings(words: list[str]) -> Rounds:
    """The settings of a config file with overrides; InputError for a file without, or a word that is not understood."""
    rounds = getattr(read_module(words[0]), "rounds", None)
    if not isinstance(rounds, Rounds):
        raise InputError(
            f"{words[0]} defines no `rounds = Rounds(...)` (found {type(rounds).__name__}); see "
            "configs/rounds_rejection.py"
        )
    one_level: Any = tyro.conf.CascadeSubcommandArgs
    found: Rounds = parse(rounds, words[1:], f"python -m mtjax.rounds {words[0]}", one_level[Rounds])
    return found


def watch(folder: str, every: float = 2.0) -> int:
    """Show a run whenever it has changed, until it has ended; on a terminal each picture replaces the one before."""
    shown = ""
    while True:
        found = report.read_run(folder)
        if (text := report.watched(found)) != shown:
            print(("\x1b[H\x1b[J" if sys.stdout.isatty() else "") + text, flush=True)
            shown = text
        if found.summary:
            return ExitCode.DONE
        time.sleep(every)


@command("CONFIG [overrides] | --watch RUN | --compare RUN RUN ...", within=hosts.session)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    if words[0] in ("--watch", "--compare"):
        if len(words) < 2 or (words[0] == "--watch" and len(words) > 2):
            raise InputError(f"{words[0]}: expected {'one run folder' if words[0] == '--watch' else 'run folders'}")
        if words[0] == "--watch":
            return watch(words[1])
        print(format_table(report.compared(words[1:])))
        return ExitCode.DONE
    config = read_settings(words)
    outcome = run(config)
    if outcome.why:
        print(f"ended    after round {outcome.lines[-1]['round']}: {outcome.why}")
    if outcome.exit_code == ExitCode.DONE and hosts.index() == 0:
        print(f"report: {report.write(config.train.run_dir)}")
    return int(outcome.exit_code)


if __name__ == "__main__":
    sys.exit(main())
