"""Show data before they are trained, or a model before it is loaded, without loading weights.

Data: NAME is a file, folder or pattern of records in any format of docs/data.md, a config file (.py), or a run folder.
The output says what was recognised, how long the examples are, what is cut, how they are packed, which share of the
tokens are targets, what stands twice, and shows the first examples with their targets marked.

Model: NAME is a run folder or step of one, a Hugging Face folder, that of an adapter, a hub id, or `smollm2`. The
output says what it is, its parameters, the memory of each use, and why it would not load.
"""

import dataclasses
import os
import pathlib
import shutil
import sys
from typing import Annotated, Any, Literal

from annotated_types import Ge

from mtjax import config as settings
from mtjax.config import Config
from mtjax.data.batches import DataConfig, make_batches, unlimited
from mtjax.data.batches import problems as problems_of
from mtjax.data.closing import with_closed_prompts
from mtjax.data.examples import Truncation
from mtjax.data.overlap import overlap
from mtjax.data.problem import OnError
from mtjax.data.selection import select
from mtjax.data.sources import SOURCES, Files, InMemory
from mtjax.data.sources.detection import source_of
from mtjax.data.tokenizer import Tokenizer, load_tokenizer
from mtjax.errors import ExitCode, InputError
from mtjax.inspection.data_text import to_page, to_text
from mtjax.inspection.data_view import DataView, fitting_task, view_data
from mtjax.inspection.model_view import ModelView, view_model, view_run
from mtjax.inspection.model_view import to_text as model_text
from mtjax.io.command_line import command, output_file, split_options
from mtjax.io.files import write_text
from mtjax.io.plain_snapshot import has_snapshot
from mtjax.model import catalog
from mtjax.model.weights import OTHERS, not_a_folder
from mtjax.registry import plain_settings
from mtjax.runs.start import describe, fitted_to, has_encoder, is_run
from mtjax.training.checkpoint import folders_of, saved_steps
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Options of `python -m mtjax.inspect`; for a config, other words are overrides of it, as for `mtjax.train`."""

    model: str | None = None  # Whose tokenizer to use: a run or Hugging Face folder, a hub id, `smollm2`, `bytes`.
    examples: Annotated[int, Ge(0)] = 4  # How many examples to show.
    html: str | None = None  # Also write a page to this file (of data).
    what: Literal["all", "model", "data"] = "all"  # Of a run folder, which has both.
    batch_size: PositiveInt = 1  # Rows that are sampled at a time, for the memory of a model's cache.
    # Of a file; a config says these itself.
    task: str = "auto"  # Task that renders the records; auto takes the one that fits what they have.
    template: str = ""  # Text around the question, with `{question}` once, or chat; empty takes what fits.
    source: str = "auto"  # Source that reads the file; auto recognises it.
    format: str = "auto"  # Format of the records; auto recognises each by its keys.
    columns: tuple[str, ...] = ()  # Keys to read, each `key` or `theirs=ours`; empty reads the records as they are.
    on_error: OnError = "raise"  # A record that cannot be read: stop with its place, or skip and count it.
    sequence_length: PositiveInt = 1024  # Tokens per row, of data and of a model's cache.
    max_segments: PositiveInt | Literal["auto"] | None = None
    """Most examples in one row; None: one per 64 tokens, at least 8; auto: as many as full rows need."""
    truncation: Truncation = "drop"  # An example longer than a row: leave it out, or cut its front or its end.
    limit: PositiveInt | None = None  # Look at the first records only.

    def __post_init__(self) -> None:
        check_types(self)


OF_A_FILE = ("task", "template", "source", "format", "columns", "sequence_length", "max_segments", "truncation")
"""Options that a config has settings for."""


def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of a model, run or config name, as that model is given its tokens; no weights are read."""
    if is_run(name):
        shape, own, _ = describe(name)
        return fitted_to(shape, load_tokenizer(own))[1]
    tokenizer = load_tokenizer(name)
    return with_closed_prompts(tokenizer) if catalog.has_encoder(name) else tokenizer


def _own_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer of a training run."""
    if name := config.data.tokenizer:
        tokenizer = load_tokenizer(name)
        return with_closed_prompts(tokenizer) if has_encoder(config) else tokenizer
    if config.init_from is None:
        raise InputError("the config names no tokenizer: set data.tokenizer or init_from, or pass --model=NAME")
    return tokenizer_of(config.init_from)


def inspect_file(path: str, wanted: InspectConfig) -> DataView:
    """What there is to show of a file of records."""
    source = source_of(path, wanted.source, format=wanted.format, columns=wanted.columns)
    try:
        reader = None
        if isinstance(source, Files):
            found, reader = source.scan(wanted.on_error)
        else:
            found = source.problems(wanted.on_error)
    except InputError as error:  # the readers call the settings by their names in a training config
        raise InputError(str(error).replace("--data.source.", "--").replace("data.on_error", "--on_error")) from error
    items = found.items[: wanted.limit]
    name = wanted.model
    if name is None:
        try:
            name, tokenizer = "smollm2", load_tokenizer("smollm2")
        except InputError:
            name, tokenizer = "bytes", load_tokenizer("bytes")
    else:
        tokenizer = tokenizer_of(name)
    talks = reader is not None and reader.talks
    task = fitting_task(items, tokenizer, wanted.task, wanted.template, talks)
    data = DataConfig(
        source=InMemory(tuple(items)), task=task, sequence_length=wanted.sequence_length,
        max_segments=wanted.max_segments, truncation=wanted.truncation, on_error="skip",
    )  # fmt: skip
    formats = reader.counts if reader else {source_name(source): len(found.items)}
    facts = {"format": ", ".join(f"{name} ({count:,} records)" for name, count in formats.items())}
    left = f", {found.skipped:,} skipped" if found.skipped else ""
    looked = f"; the first {len(items):,} are shown" if len(items) < len(found.items) else ""
    facts["records"] = f"{len(found.items):,}{left}{looked}"
    notes = found.notes if wanted.model else (*found.notes, f"tokens are those of {name}; --model=NAME takes another's")
    batches = make_batches(unlimited(data), tokenizer, batch_size=1, seed=0)
    return view_data(path, facts, items, data, tokenizer, batches, notes=notes, most=wanted.examples)


def inspect_config(config: Config, title: str, wanted: InspectConfig, run: str | None = None) -> DataView:
    """What there is to show of the data of a training run; `run` is its folder, if the tokenizer is that of the run."""
    name = wanted.model or run
    tokenizer = tokenizer_of(name) if name else _own_tokenizer(config)
    found = problems_of(config.data)
    facts = {"source": f"{source_name(config.data.source)} {plain_settings(config.data.source)}"[:200]}
    facts["records"] = f"{len(found.items):,}" + (f", {found.skipped:,} skipped" if found.skipped else "")
    if config.held_out is not None:
        train = select(config.data.source, config.data.selections)
        shared = overlap(train, config.held_out.source, config.data.on_error)
        apart = f"{shared.total:,} records, none of them in the training data"
        facts["held out"] = str(shared) if shared.shared else apart
    batches = make_batches(unlimited(config.data), tokenizer, batch_size=config.batch_size, seed=config.seed)
    return view_data(
        title, facts, found.items, config.data, tokenizer, batches, notes=found.notes, most=wanted.examples
    )


def source_name(source: Any) -> str:
    """The registered name of a source."""
    return SOURCES.name_of(source) or type(source).__name__


def is_model(name: str) -> bool:
    """Whether a name is that of a model, a run excepted: a folder with weights or a config, a hub id, `smollm2`.

    InputError for a file of weights, with what to do.
    """
    place = pathlib.Path(name).expanduser()
    if place.is_file() and any(place.match(pattern) for pattern in OTHERS):
        raise InputError(not_a_folder(place))
    if not place.exists():
        return name == catalog.SMOLLM2 or catalog.HUB_ID.fullmatch(name) is not None
    own = ("config.json", "adapter_config.json", *OTHERS)
    return place.is_dir() and not is_run(place) and any(True for pattern in own for _ in place.glob(pattern))


def inspect_run(folder: pathlib.Path, config: Config, wanted: InspectConfig) -> ModelView:
    """What there is to show of the model of a training run."""
    shape, tokenizer, _ = describe(str(folder))
    newest, best = (saved_steps(place) for place in folders_of(folder, config.checkpoint.folder))
    steps = f"steps {', '.join(map(str, newest))}" if newest else "none"
    steps += f"; best {best[-1]}" if best else ""
    sizes = {"rows": wanted.batch_size, "length": wanted.sequence_length}
    return view_run(str(folder), config.init_from, shape, tokenizer, steps, **sizes)


@command("NAME [options] [overrides]", options=InspectConfig)
def main(words: list[str]) -> int:
    """The command; returns the exit code."""
    wanted, rest = split_options(InspectConfig, words[1:], "python -m mtjax.inspect NAME")
    place = pathlib.Path(words[0]).expanduser()
    if place.parent.name in ("checkpoints", "best") and is_run(place.parent.parent):
        place = place.parent.parent
    html = output_file("--html", wanted.html)
    if is_model(words[0]) or (is_run(place) and wanted.what != "data"):
        for given, why in ((wanted.html, "--html"), (rest and rest[0], rest and rest[0])):
            if given and not is_run(place):
                raise InputError(f"{why!r} is for data, and {words[0]!r} is a model; leave it out")
        if is_run(place):
            model = inspect_run(place, settings.read_run(place), wanted)
        else:
            model = view_model(words[0], rows=wanted.batch_size, length=wanted.sequence_length)
        print(model_text(model), end="", flush=True)
        if not is_run(place) or wanted.what == "model":
            return ExitCode.DONE
        print()
    elif wanted.what == "model":
        raise InputError(f"--what=model: {words[0]!r} is not a model or run folder; leave the option out")
    if has_snapshot(place) or place.suffix == ".py":
        plain = InspectConfig()
        changed = [name for name in OF_A_FILE if getattr(wanted, name) != getattr(plain, name)]
        of_model = ("sequence_length",) if is_run(place) and wanted.what != "data" else ()
        if given := [name for name in changed if name not in of_model]:
            raise InputError(f"--{given[0]} is for files; change the setting of the config, --data.{given[0]}=...")
        own = settings.read_run(place) if place.is_dir() else settings.read_file(place)
        config = settings.parse(own, rest, f"python -m mtjax.inspect {place}")
        same = (own.data.tokenizer, own.init_from) == (config.data.tokenizer, config.init_from)
        view = inspect_config(config, str(place), wanted, run=str(place) if is_run(place) and same else None)
    elif rest:
        raise InputError(f"{rest[0]!r} is not understood; python -m mtjax.inspect --help lists the options")
    else:
        view = inspect_file(words[0], wanted)
    if html:
        write_text(html, to_page(view))
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(to_text(view, width=shutil.get_terminal_size((100, 24)).columns, colour=colour), end="", flush=True)
    if html:
        print(f"\nwrote {wanted.html}", flush=True)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
