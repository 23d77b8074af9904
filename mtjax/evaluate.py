"""Measure a model.

MODEL is a run folder, a Hugging Face folder, a hub id or `smollm2`. The problems are those of a config file, of the
run's own snapshot (its held-out source), or of `--data...` overrides.
`python -m mtjax.evaluate MODEL --help` lists every setting with its value.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import tyro

from mtjax import config as settings
from mtjax.data.sources import SOURCES
from mtjax.data.tasks import TASKS
from mtjax.distributed.hosts import check_one_host
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.io.command_line import command
from mtjax.model import catalog
from mtjax.reporting.report import format_table
from mtjax.runs.evaluation import evaluate, save, settings_as_json, table_of
from mtjax.runs.loading import load_any


def read_settings(argv: Sequence[str]) -> tuple[str, EvaluateConfig]:
    """The model's name and the settings, from the command line; InputError for what it does not understand."""
    model, *rest = argv
    run = pathlib.Path(model).expanduser() / "config.py"
    if not run.is_file() and not catalog.HUB_ID.fullmatch(model):
        catalog.find_model(model)  # a misspelt name is refused before anything else
    file = rest.pop(0) if rest and rest[0].endswith(".py") else (run if run.is_file() else None)
    default: Any = tyro.MISSING_NONPROP
    if file is not None:
        trained = settings.read_file(file)
        source = trained.data.source if trained.held_out is None else trained.held_out.source
        default = EvaluateConfig(data=dataclasses.replace(trained.data, source=source))
    elif not {"-h", "--help"} & set(rest):
        _refuse_without_problems(model, rest)
    kind = tyro.conf.CascadeSubcommandArgs[EvaluateConfig]
    return model, settings.parse(default, rest, f"python -m mtjax.evaluate {model}", kind)


def _refuse_without_problems(model: str, words: Sequence[str]) -> None:
    """A model that is no run brings no problems: say how to name them."""
    for name, registry in (("source", SOURCES), ("task", TASKS)):
        if not any(word.startswith(f"data.{name}:") for word in words):
            raise InputError(
                f"{model!r} is no run folder, so say what to evaluate it on: give a config file, or data.source:KIND "
                f"and data.task:KIND with their settings (data.{name} is not given; known: {', '.join(registry)})"
            )


@command("MODEL [CONFIG] [overrides]", before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    name, config = read_settings(words)
    if config.output and pathlib.Path(config.output).is_file():
        raise InputError(f"--output={config.output} is a file; expected a folder, or the name of a new one")
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 else None
    tokenizer = config.tokenizer or (None if (pathlib.Path(name) / "config.py").is_file() else config.data.tokenizer)
    loaded = load_any(name, tokenizer=tokenizer, mesh=mesh, dtype=config.dtype, step=config.step)
    outcome = evaluate(loaded, config, mesh)
    count = len(next(iter(outcome.evaluations.values())).ids)
    source = type(config.data.source).__name__
    called = name if loaded.step is None else f"{name} at step {loaded.step}"
    print(
        format_table(
            table_of(
                outcome,
                f"{called}: {count} problems of {source}, {config.samples} samples each at temperature "
                f"{config.temperature:g}; {config.level:.0%} bootstrap intervals over problems",
            )
        )
    )
    for note in outcome.notes:
        print(f"note: {note}")
    run = pathlib.Path(name).expanduser()
    folder = config.output or (str(run / "evaluation") if (run / "config.py").is_file() else None)
    if folder is not None:
        about = {"model": name, "step": loaded.step, "problems": count, "settings": settings_as_json(config)}
        save(outcome, about, pathlib.Path(folder))
        print(f"wrote {folder}/evaluation.json and samples.jsonl")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
