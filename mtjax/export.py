"""Export a model: weights, tokenizer, chat template, generation config and model card.

MODEL is a run folder, one of its steps (`RUN/checkpoints/500`), the folder of an adapter, or any other model. OUT
becomes a Hugging Face folder, with an adapter merged, or with `--what=adapter` a PEFT folder of the adapter alone. What
was written is read again and compared before the command says that it is done.
"""

import dataclasses
import pathlib
import sys
from typing import Literal

from mtjax import config as settings
from mtjax.distributed.hosts import check_one_host
from mtjax.errors import ExitCode, InputError
from mtjax.io.command_line import command, split_options
from mtjax.io.progress import progress
from mtjax.model import huggingface
from mtjax.runs import export as exporting
from mtjax.runs.loading import load_any, named_step
from mtjax.runs.start import is_run, origin_of
from mtjax.validation import check_types, refuse_address


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of `python -m mtjax.export`."""

    what: exporting.What = "model"  # The complete model, with an adapter merged; or the adapter alone, for PEFT.
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Type of the weights of a model; default that of the checkpoint it came from, or float32."""
    max_shard_size: str = "5GB"  # Size of one file at most, such as 5GB, 500MB or 2GiB.
    step: int | Literal["best"] | None = None  # Checkpoint of a run: its step, or "best"; default the newest.
    weights: Literal["auto", "raw", "average"] = "auto"
    """Parameters of a run: as trained (raw), or the average that it keeps of them (`optim.average`); auto: raw, but the
    average of a schedule-free optimizer."""
    tokenizer: str | None = None  # Tokenizer to export; default the model's own.
    base: str | None = None
    """What an adapter's config names as its base; default the name that the run started from."""
    push_to_hub: str | None = None  # Repository of the Hugging Face hub (owner/name) to upload to as well.
    private: bool = False  # Make that repository private if it is new.

    def __post_init__(self) -> None:
        check_types(self)


@command("MODEL OUT [options]", options=ExportConfig, before=check_one_host)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    options, places = split_options(ExportConfig, words, "python -m mtjax.export MODEL OUT")
    if len(places) != 2 or any(word.startswith("-") for word in places):
        raise InputError(f"got {places}: expected MODEL and OUT, two names, and options; --help lists them")
    (name, step), out = named_step(places[0], options.step), places[1]
    refuse_address("export", out)
    if pathlib.Path(out).absolute() == pathlib.Path(name).expanduser().absolute():
        raise InputError(f"OUT is the model itself ({out}); give a new folder")
    if options.what == "adapter" and options.dtype not in (None, "float32"):
        raise InputError(f"--dtype={options.dtype}: an adapter is written in float32; leave the option out")
    file_bytes = exporting.parse_bytes(options.max_shard_size)
    api = exporting.hub(options.push_to_hub) if options.push_to_hub else None  # before anything is computed

    loaded = load_any(name, tokenizer=options.tokenizer, step=step, merge=False, weights=options.weights)
    config = settings.read_run(name) if is_run(name) else None
    card = "Exported with mtjax.\n"
    if config is not None and loaded.step is not None:
        card = exporting.card_of(dataclasses.replace(config, run_dir=str(pathlib.Path(name).expanduser())), loaded.step)
    if options.what == "adapter":
        base = options.base or exporting.base_name(name)
        if loaded.model.config.adapter is not None and base is None:
            raise InputError(
                f"{name} started from random parameters, so its adapter has no base model: leave --what=adapter out to "
                "export the complete model, or name one with --base"
            )
        exporting.export_adapter(out, loaded, str(base), card)
        print(f"wrote {out}: read again {exporting.compare_adapter(out, loaded)}, and equal")
    else:
        huggingface.check_place(out, loaded.model)
        written = loaded.model, loaded.params
        with progress(f"writing {out}", None):
            exporting.export_model(out, *written, loaded.decoding, origin_of(name), card, options.dtype, file_bytes)
            gap = exporting.compare_model(out, *written, options.dtype)
        print(f"wrote {out}: read again; the weights differ by at most {gap:.2g}, the rounding of their type")
    exporting.compare_tokenizer(out, loaded.decoding)
    if api is not None:
        print(f"uploaded to {exporting.push(api, out, str(options.push_to_hub), options.private)}")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
