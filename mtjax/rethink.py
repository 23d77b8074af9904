"""Measure self-rethinking: `python -m mtjax.rethink MODEL_OR_URL [CONFIG] --mistakes=FILE [overrides]`.

The model solves problems, is shown kinds of mistakes, is asked whether it made one, and solves again; reported are
accuracy before and after, and calls per question. MODEL_OR_URL is a run folder, a Hugging Face folder, a hub id,
`smollm2`, or the URL of an OpenAI-compatible server. The problems are those of a config file, of the run's own snapshot
(its held-out source), or of `data.source:KIND` overrides.

`python -m mtjax.rethink MODEL_OR_URL --help` lists every setting with its value, `--help-all` explains each.
"""

import sys
from collections.abc import Sequence

from mtjax.config import Config
from mtjax.distributed.hosts import check_one_host
from mtjax.io.command_line import command
from mtjax.mistakes.rethinking_evaluation import RethinkConfig, RethinkData
from mtjax.runs import model_or_server
from mtjax.runs.rethinking import run


def from_config(trained: Config, tokenizer: str | None) -> RethinkConfig:
    """The settings for the held-out source of a training run's config, or its training source if it has none."""
    source = trained.data.source if trained.held_out is None else trained.held_out.source
    return RethinkConfig(data=RethinkData(source=source, on_error=trained.data.on_error), tokenizer=tokenizer)


def read_settings(argv: Sequence[str]) -> tuple[str, RethinkConfig]:
    """The model's name and the settings, from the command line; InputError for a word that is not understood."""
    return model_or_server.read_settings(argv, "rethink", RethinkConfig, from_config)


@command("MODEL_OR_URL [CONFIG] --mistakes=FILE [overrides]", before=check_one_host)
def main(words: Sequence[str]) -> int:
    """The command; returns the exit code."""
    name, config = read_settings(words)
    return run(name, config, lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
