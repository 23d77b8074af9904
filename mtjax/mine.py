"""Solve problems with a policy and keep every solution with its verdict: `python -m mtjax.mine MODEL_OR_URL [CONFIG]`.

MODEL_OR_URL is a run folder, a Hugging Face folder, a hub id, `smollm2`, or the URL of an OpenAI-compatible server. The
problems are those of a config file, of the run's own snapshot (its training source), or of `data.source:KIND`
overrides. The output folder gets manifest.json and solutions.jsonl; run again after a kill, it goes on.
"""

import sys
from collections.abc import Sequence
from typing import Any

import tyro

from mtjax import config as settings
from mtjax.errors import ExitCode, entry_point
from mtjax.mistakes.mining import MineConfig, MineData
from mtjax.runs.compiled import keep_compiled
from mtjax.runs.mining import run
from mtjax.runs.model_or_server import check_choices, is_run, is_url, name_and_file


def read_settings(argv: Sequence[str]) -> tuple[str, MineConfig]:
    """The policy's name and the settings, from the command line; InputError for what it does not understand."""
    name, file, rest = name_and_file(argv)
    default: Any = tyro.MISSING_NONPROP
    if file is not None:
        trained = settings.read_file(file)
        # A run knows its tokenizer; with a server it is needed only where the user says so.
        tokenizer = None if is_url(name) or is_run(name) else trained.data.tokenizer
        data = MineData(source=trained.data.source, task=trained.data.task, on_error=trained.data.on_error)
        default = MineConfig(data=data, tokenizer=tokenizer)
    check_choices(rest, has_source=file is not None)
    kind = tyro.conf.CascadeSubcommandArgs[MineConfig]
    return name, settings.parse(default, rest, f"python -m mtjax.mine {name}", kind)


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        usage = "usage: python -m mtjax.mine MODEL_OR_URL [CONFIG] [overrides]"
        print(f"{usage}\n\n{(__doc__ or '').split(chr(10), 2)[2]}")
        print("`python -m mtjax.mine MODEL_OR_URL --help` lists every setting with its value.")
        return ExitCode.DONE if argv else ExitCode.BAD_INPUT
    name, config = read_settings(argv)
    keep_compiled()
    return run(name, config, lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
