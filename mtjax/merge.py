"""Make one model of several.

METHOD is a merge: soup, greedy_soup, wise_ft (of START and END) or weight_matching; `python -m mtjax.list merge` says
what each does. Each MODEL is a run folder, one of its steps (`RUN/checkpoints/500`), a Hugging Face folder, an adapter,
a hub id or `smollm2`, all of one architecture and tokenizer. Words after the models say on which problems to measure,
as those of `python -m mtjax.evaluate`: a config file, `data.source:KIND`, `--samples=8`; a run's own are its held-out
ones. A setting of METHOD is an option too, such as `--fraction=0.5`.
"""

import dataclasses
import functools
import itertools
import pathlib
import sys
from typing import Any, Literal

import jax

from mtjax.distributed.hosts import check_one_host
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.io.command_line import command, split_options
from mtjax.io.short_help import HELP, HELP_ALL, short_help
from mtjax.model import huggingface
from mtjax.model.merging import MERGES, Given
from mtjax.reporting.report import to_text, write_report
from mtjax.runs import export as exporting
from mtjax.runs import merging
from mtjax.runs.evaluation import held_out_settings
from mtjax.runs.loading import Weights, load_any, named_step
from mtjax.runs.model_or_server import read_settings
from mtjax.runs.start import is_run, origin_of
from mtjax.validation import check_types, refuse_address


@dataclasses.dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Options of `python -m mtjax.merge`, besides those of METHOD and of the measurement."""

    output: str | None = None  # Folder of the merged model, a Hugging Face one; None only measures.
    report: str | None = None  # Folder for report.html, its plots, and merge.json.
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Type of the weights on disk; default that of the checkpoint that the models came from, or float32."""
    max_shard_size: str = "5GB"  # Size of one file at most, such as 5GB, 500MB or 2GiB.
    weights: Literal["auto", "raw", "average"] = "auto"  # Parameters of runs: as trained, or the average they keep.
    tokenizer: str | None = None  # Tokenizer of all models; default their own.

    def __post_init__(self) -> None:
        check_types(self)


def measurement(model: str, words: list[str], needed: bool) -> EvaluateConfig | None:
    """The settings of the measurement; None where no words ask for one and the method can do without."""
    name = named_step(model)[0]
    if not words and not (needed and is_run(name)):
        return None
    found: EvaluateConfig = read_settings([name, *words], "evaluate", EvaluateConfig, held_out_settings)[1]
    return found


@command("METHOD MODEL [MODEL ...] [CONFIG] [options]", options=MergeConfig, before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    method, prog = MERGES.find(words[0].replace("-", "_")), f"python -m mtjax.merge {words[0]}"
    if {*HELP, HELP_ALL} & set(words):
        print(short_help(method, f"{prog} MODEL ..."), short_help(MergeConfig, f"{prog} MODEL ..."), sep="\n\n")
        print("Other words are those of python -m mtjax.evaluate.")
        return ExitCode.DONE
    options, rest = split_options(MergeConfig, words[1:], prog)
    merge, rest = split_options(method, rest, prog)
    names = list(
        itertools.takewhile(lambda word: not word.startswith("-") and ":" not in word and word[-3:] != ".py", rest)
    )
    if len(names) < merge.fewest:
        raise InputError(f"got {len(names)} models: {words[0]} takes at least {merge.fewest}, before all other words")
    if options.output is None and options.report is None and not merge.measures:
        raise InputError("say where the merged model goes, --output=FOLDER")
    for option in ("output", "report"):
        if getattr(options, option):
            refuse_address(option, getattr(options, option))
    file_bytes = exporting.parse_bytes(options.max_shard_size)
    config = measurement(names[-1], rest[len(names) :], merge.measures)
    mesh = make_mesh(config.mesh) if config and jax.device_count() > 1 else None
    show = functools.partial(print, flush=True)

    def load(name: str) -> Any:
        model, step = named_step(name)
        weights: Weights = options.weights if is_run(model) else "auto"
        return load_any(model, tokenizer=options.tokenizer, mesh=mesh, step=step, weights=weights)

    def params_of(name: str) -> Any:
        return load(name).params

    first = load(names[0])
    if options.output:
        huggingface.check_place(options.output, first.model)
    checked, notes = merging.look_through(names, first, load)
    measure = merging.measured_on(checked.last, config, mesh, show) if config else None
    merged = merge(first.model, [Given(name, functools.partial(params_of, name)) for name in names], measure)
    notes = [*notes, *merged.notes]
    caption = (
        "" if config is None else f"{config.limit or 'all'} problems at most, {config.sampling.samples} samples each"
    )
    report = merging.report_of(merged, caption, notes)
    print(to_text(report), end="")
    if options.output:
        card = merging.card_of(merged, notes, checked.fingerprints)
        origin = next(filter(None, (origin_of(named_step(name)[0]) for name in names)), None)
        save = (options.output, first.model, merged.params)
        exporting.export_model(*save, checked.last.decoding, origin, card, options.dtype, file_bytes)
        gap = exporting.compare_model(*save, options.dtype)
        print(
            f"wrote {options.output}: read again; the weights differ by at most {gap:.2g}, the rounding of their type"
        )
    if options.report:
        page = write_report(report, options.report)
        merging.save(merged, {"models": checked.fingerprints, "notes": notes}, pathlib.Path(options.report))
        print(f"wrote {page} and merge.json")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
