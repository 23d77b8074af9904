"""Measure a model.

MODEL is a run folder, a Hugging Face folder, a hub id or `smollm2`. The problems are those of a config file, of the
run's own snapshot (its held-out source), or of `--data...` overrides.
`python -m mtjax.evaluate MODEL --help` lists every setting with its value, `--help-all` explains each.
"""

import pathlib
import sys
from collections.abc import Sequence

import jax

from mtjax.distributed import hosts
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.io.command_line import command
from mtjax.reporting.report import format_table
from mtjax.runs import model_or_server
from mtjax.runs.evaluation import evaluate, held_out_settings, save, settings_as_json, table_of
from mtjax.runs.loading import load_any
from mtjax.sampling.decoding import Decoding


def read_settings(argv: Sequence[str]) -> tuple[str, EvaluateConfig]:
    """The model's name and the settings, from the command line; InputError for a word that is not understood."""
    if model_or_server.is_url(argv[0]):
        raise InputError(f"{argv[0]}: evaluate needs a model, not a server; mine its answers with python -m mtjax.mine")
    return model_or_server.read_settings(argv, "evaluate", EvaluateConfig, held_out_settings)


@command("MODEL [CONFIG] [overrides]", within=hosts.session)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    name, config = read_settings(words)
    if config.output and pathlib.Path(config.output).is_file():
        raise InputError(f"--output={config.output} is a file; expected a folder, or the name of a new one")
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 else None
    tokenizer = config.tokenizer or (None if model_or_server.is_run(name) else config.data.tokenizer)
    loaded = load_any(
        name, tokenizer=tokenizer, mesh=mesh, dtype=config.dtype, step=config.step, weights=config.weights
    )
    print(f"note: {Decoding(loaded.tokenizer, config.data.task).reads()}", flush=True)
    outcome = evaluate(loaded, config, mesh)
    count = len(next(iter(outcome.evaluations.values())).ids)
    source = type(config.data.source).__name__
    called = name if loaded.step is None else f"{name} at step {loaded.step}"
    caption = (
        f"{called}: {count} problems of {source}, {config.sampling.samples} samples each at temperature "
        f"{config.sampling.temperature:g}; {config.level:.0%} bootstrap intervals over problems"
    )
    print(format_table(table_of(outcome, caption)))
    for note in outcome.notes:
        print(f"note: {note}")
    own = str(pathlib.Path(name).expanduser() / "evaluation") if model_or_server.is_run(name) else None
    folder = config.output or own
    if folder is not None:
        about = {"model": name, "step": loaded.step, "problems": count, "settings": settings_as_json(config)}
        save(outcome, about, pathlib.Path(folder))
        print(f"wrote {folder}/evaluation.json and samples.jsonl")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
