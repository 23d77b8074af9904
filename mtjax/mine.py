"""Solve problems with a policy and keep every solution with its verdict: `python -m mtjax.mine MODEL_OR_URL [CONFIG]`.

MODEL_OR_URL is a run folder, a Hugging Face folder, a hub id, `smollm2`, or the URL of an OpenAI-compatible server. The
problems are those of a config file, of the run's own snapshot (its training source), or of `data.source:KIND`
overrides. The output folder gets manifest.json and solutions.jsonl; run again after a kill, the job is resumed.

`python -m mtjax.mine MODEL_OR_URL --help` lists every setting with its value, `--help-all` explains each.
"""

import sys
from collections.abc import Sequence

from mtjax.config import Config
from mtjax.distributed import hosts
from mtjax.io.command_line import command
from mtjax.mistakes.mining import MineConfig, MineData
from mtjax.runs import model_or_server
from mtjax.runs.mining import run


def from_config(trained: Config, tokenizer: str | None) -> MineConfig:
    """The settings for the training source of a training run's config."""
    data = MineData(source=trained.data.source, task=trained.data.task, on_error=trained.data.on_error)
    return MineConfig(data=data, tokenizer=tokenizer)


def read_settings(argv: Sequence[str]) -> tuple[str, MineConfig]:
    """The policy's name and the settings, from the command line; InputError for a word that is not understood."""
    return model_or_server.read_settings(argv, "mine", MineConfig, from_config)


@command("MODEL_OR_URL [CONFIG] [overrides]", within=hosts.session)
def main(words: Sequence[str]) -> int:
    """The command; returns the exit code."""
    name, config = read_settings(words)
    return run(name, config, lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
