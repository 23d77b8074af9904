"""Sample, grade, curate, train, measure, and again: `python -m mtjax.rounds CONFIG [overrides]`.

CONFIG is a Python file with `rounds = Rounds(...)`, such as configs/rounds_rejection.py. Overrides are settings of it:
`--rounds=5`, `curation:pairs`, `--train.seed=1`. The run folder (`train.run_dir`) gets the attempts of every round, the
measurements, rounds.jsonl and checkpoints; run again after a kill, the same command goes on and gives the same bytes.
Other commands take the folder as a model: `python -m mtjax.evaluate RUN --step=2` is the model after round 2.
"""

import sys

import tyro

from mtjax.config import parse, read_module
from mtjax.distributed.hosts import check_one_host
from mtjax.errors import InputError
from mtjax.io.command_line import command
from mtjax.runs.rounds.config import Rounds
from mtjax.runs.rounds.loop import run


@command("CONFIG [overrides]", before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    rounds = getattr(read_module(words[0]), "rounds", None)
    if not isinstance(rounds, Rounds):
        raise InputError(
            f"{words[0]} defines no `rounds = Rounds(...)` (found {type(rounds).__name__}); see "
            "configs/rounds_rejection.py"
        )
    one_level: type = tyro.conf.CascadeSubcommandArgs[Rounds]  # type: ignore[type-arg,valid-type]
    config = parse(rounds, words[1:], f"python -m mtjax.rounds {words[0]}", one_level)
    outcome = run(config)
    if outcome.why:
        print(f"ended    after round {outcome.lines[-1]['round']}: {outcome.why}")
    return int(outcome.exit_code)


if __name__ == "__main__":
    sys.exit(main())
