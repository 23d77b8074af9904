"""The settings of an audit, and what they name: the data, other data to compare with, models, truth and dates."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import tyro

from mtjax import config as settings
from mtjax.data.problem import OnError
from mtjax.data.sources import SOURCES, AnySource
from mtjax.data.sources.base import FileSource
from mtjax.data.sources.detection import source_of
from mtjax.data.sources.mined import FILE as MINED
from mtjax.errors import InputError, suggest
from mtjax.io.jsonl import json_of, read_lines
from mtjax.io.words import as_registered
from mtjax.mistakes.checks import CHECKS, Item, Subject
from mtjax.runs.audit_data import AuditData, Repair, planted
from mtjax.runs.start import is_run
from mtjax.validation import PositiveInt, check_types

INJECTED = "mistakes.jsonl"  # What `mtjax.inject` writes into its folder.


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Options of the command, besides those of the checks, such as `--contamination.words=10`."""

    checks: tuple[
        str, ...
    ] = ()  # Which checks to run (`python -m mtjax.list check`); empty: those that run by default.
    against: str | None = (
        None  # Other data that must not be in these, such as a test set; of a config, its held-out data.
    )
    against_source: str = "auto"  # Source that reads them; auto: as the data, if their source is named, or recognised.
    truth: str = ""  # Planted truth: a field of the records, or a file of JSON lines with the keys id and truth.
    dates: str = ""  # Dates of the problems: a field of the records, or a file of JSON lines with the keys id and date.
    model: str | None = None  # Model for log-probabilities and features of texts; of a run, the run itself.
    reference_model: str | None = None  # Another model, whose log-probabilities are subtracted.
    judge_models: tuple[str, ...] = ()  # Models that judge labels, each asked in four ways.
    judgements: str = ""  # File of judgements made elsewhere, or by an earlier audit (judges.jsonl).
    fix: Repair = "filter"  # What the copy does with flagged texts: nothing (no copy), leave out, or change the label.
    control: bool = False  # Also write a copy in which as many problems and texts, drawn at random, are repaired.
    output: str = ""  # Folder of the results; empty: `audit` in a run folder, else ./audit.
    source: str = "auto"  # Source that reads a file; auto recognises it.
    format: str = "auto"  # Format of the records of a file; auto recognises each by its keys.
    columns: tuple[str, ...] = ()  # Keys to read, each `key` or `theirs=ours`; empty reads the records as they are.
    on_error: OnError = "raise"  # A record that cannot be read: stop with its place, or skip it.
    limit: PositiveInt | None = None  # Look at the first problems only; a copy holds these alone.
    sequence_length: PositiveInt = 1024  # Most tokens of a text that a model scores.
    batch_size: PositiveInt = 8  # Texts that a model scores at a time.
    seed: int = 0  # Random seed of folds, partitions and the control.
    overwrite: bool = False  # Replace the results of another audit in the folder.

    def __post_init__(self) -> None:
        check_types(self)


AuditConfig: Any = dataclasses.make_dataclass(
    "AuditConfig",
    [(name, cls, cls()) for name, cls in CHECKS.items()],
    bases=(AuditOptions,),
    frozen=True,
    kw_only=True,
)
"""The options with the settings of each check under its name."""


@dataclasses.dataclass(frozen=True)
class SourceWords:
    """The data as words of the command line."""

    source: AnySource  # The data, as source:KIND and its settings.


def file_source(path: str, wanted: Any) -> Any:
    """The source that reads a file, or a folder that `mtjax.mine` or `mtjax.inject` wrote."""
    folder = pathlib.Path(path).expanduser()
    name = next((name for name in (MINED, INJECTED) if (folder / name).is_file()), None)
    return source_of(str(folder / name) if name else path, wanted.source, format=wanted.format, columns=wanted.columns)


def open_data(
    name: str, rest: Sequence[str], wanted: Any, fields: tuple[str, ...]
) -> tuple[AuditData, Any, str | None]:
    """The data that a name means, the source to compare with (or None), and the model of a run (or None)."""
    about = {"on_error": wanted.on_error, "limit": wanted.limit, "fields": fields}
    place, other, model = pathlib.Path(name).expanduser(), None, None
    named = wanted.source != "auto" or (":" in name and "://" not in name)
    if ":" in name and "://" not in name and not place.exists():
        words = as_registered([name.removeprefix("data."), *rest], SourceWords)
        if SOURCES.resolve(kind := name.partition(":")[2]) is None:
            raise InputError(f"{name}: {suggest(kind, SOURCES)}")
        marked: Any = tyro.conf.CascadeSubcommandArgs
        found = settings.parse(tyro.MISSING_NONPROP, words, "python -m mtjax.audit", marked[SourceWords])
        data = AuditData(found.source, **about)
    elif is_run(place) or place.suffix == ".py":
        given = settings.read_run(place) if place.is_dir() else settings.read_file(place)
        run = settings.parse(given, rest, f"python -m mtjax.audit {name}")
        data = AuditData(run.data.source, tuple(run.data.selections), **about)
        other = run.held_out.source if run.held_out is not None else None
        model = name if place.is_dir() else None
    elif rest:
        raise InputError(f"{rest[0]!r} is not understood; python -m mtjax.audit --help lists the options")
    else:
        data = AuditData(file_source(name, wanted), **about)
    if wanted.against is not None:
        if named and wanted.against_source == "auto" and isinstance(data.source, FileSource):
            other = dataclasses.replace(data.source, path=wanted.against, split="all")
        else:
            theirs = {"source": wanted.against_source, "columns": (), "format": "auto"}
            other = file_source(wanted.against, dataclasses.replace(wanted, **theirs))
    return data, other, wanted.model or model


def is_judged(value: Any) -> bool:
    """Whether a value of a file is one judgement: an object of finite numbers, none below 0."""
    return isinstance(value, dict) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one < math.inf for one in value.values()
    )


def judgements_of(path: str) -> Any:
    """A function from items to what a file says of them: lines with id, part, and `p` or `judgements`."""
    known: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number, line in read_lines(path):
        where = f"{path}:{number}"
        record = json_of(line, where)
        if not isinstance(record, dict) or "id" not in record or not {"p", "judgements"} & record.keys():
            raise InputError(
                f'{where}: got {record!r:.80}; expected {{"id": ..., "part": "right/0", "p": {{"right": 0.9, ...}}}}'
            )
        judged = record["judgements"] if "judgements" in record else [record["p"]]
        if not (isinstance(judged, list) and all(map(is_judged, judged))):
            raise InputError(
                f"{where}: judgements {judged!r:.80}; expected for each label a probability of at least 0, such as "
                '{"right": 0.9, "wrong": 0.1}'
            )
        known.setdefault((str(record["id"]), record.get("part", "answer")), []).extend(judged)
    return lambda items: [known.get((item.id, item.part), []) for item in items]


def subject_of(data: AuditData, other: Any, model: str | None, wanted: Any) -> Subject:
    """What the checks read; models are loaded only if they are asked for."""
    found: dict[str, Any] = {"seed": wanted.seed}
    if other is not None:
        found["against"] = AuditData(other, on_error=wanted.on_error).problems
    if wanted.truth:
        found["truth"] = planted(data.attribute(wanted.truth, "truth"))
    if wanted.dates:
        found["dates"] = {number: str(date) for number, date in data.attribute(wanted.dates, "date").items()}
    if model or wanted.judge_models or wanted.reference_model:
        from mtjax.runs.text_scores import judge, load_text_model

        load = lambda name: load_text_model(name, wanted.sequence_length, wanted.batch_size)
        if model:
            own = load(model)
            found |= {"score": own.logprobs, "embed": own.embed}
        if wanted.reference_model:
            found["reference"] = load(wanted.reference_model).logprobs
        if wanted.judge_models:
            panel = [load(name) for name in wanted.judge_models]
            found["judgements"] = lambda items: judge(panel, items)
    if wanted.judgements:
        of_file, of_models = judgements_of(wanted.judgements), found.get("judgements")

        def both(items: Sequence[Item]) -> list[Any]:
            more = of_models(items) if of_models else [[] for _ in items]
            return [[*one, *two] for one, two in zip(of_file(items), more, strict=True)]

        found["judgements"] = both
    return Subject(data.problems, **found)
