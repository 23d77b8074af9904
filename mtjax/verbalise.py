"""Learn a prompt from examples: `python -m mtjax.verbalise MODEL_OR_URL [CONFIG] --theta=TEXT [overrides]`.

The text is what is learnt: a model follows it on inputs, and the same model, or another one (`--optimizer`), is shown
its outputs and the targets and writes a better text. MODEL_OR_URL is a run folder, a Hugging Face folder, a hub id,
`smollm2`, or the URL of an OpenAI-compatible server. The problems are those of a config file, of the run's own snapshot
(its held-out source), or of `data.source:KIND` overrides; their answers are the targets.

`python -m mtjax.verbalise MODEL_OR_URL --help` lists every setting with its value, `--help-all` explains each.
"""

import sys
from collections.abc import Sequence

from mtjax.config import Config
from mtjax.distributed.hosts import check_one_host
from mtjax.io.command_line import command
from mtjax.mistakes.rethinking_evaluation import RethinkData
from mtjax.mistakes.verbalised import VerbaliseConfig
from mtjax.runs import model_or_server
from mtjax.runs.verbalised import run


def from_config(trained: Config, tokenizer: str | None) -> VerbaliseConfig:
    """The settings for the held-out source of a training run's config, or its training source if it has none."""
    source = trained.data.source if trained.held_out is None else trained.held_out.source
    data = RethinkData(source=source, on_error=trained.data.on_error)
    return VerbaliseConfig(data=data, tokenizer=tokenizer, theta="Answer the question.")


@command("MODEL_OR_URL [CONFIG] --theta=TEXT [overrides]", before=check_one_host)
def main(words: Sequence[str]) -> int:
    """The command; returns the exit code."""
    name, config = model_or_server.read_settings(words, "verbalise", VerbaliseConfig, from_config)
    return run(name, config, lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
