"""Merging of loaded models: whether they belong together, measurements on the way, and the files of what was found."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mtjax.errors import InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.io.files import write_text
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.merging import LOSS, Merged, Point, barriers
from mtjax.reporting.plots import Curve, curves_plot
from mtjax.reporting.report import Figure, Report, Section, Table
from mtjax.runs.evaluation import evaluate
from mtjax.runs.export import computes
from mtjax.runs.loading import Loaded
from mtjax.types import Params

ENDS = ("mean", "low", "high")  # of an interval


class Checked(NamedTuple):
    """What is kept of models that belong together."""

    last: Loaded  # the last one, which says how the merged model is asked
    fingerprints: dict[str, str]  # of the weights, by name


def look_through(names: Sequence[str], first: Loaded, load: Callable[[str], Loaded]) -> tuple[Checked, list[str]]:
    """Load each model once, check that it belongs to the first, and take the fingerprint of its weights.

    Returns notes on models with the weights of an earlier one. InputError as in `check_alike`.
    """
    last, found, notes = first, {names[0]: fingerprint_of(first.params)}, []
    for name in names[1:]:
        last = load(name)
        check_alike(names[0], first, name, last)
        own = fingerprint_of(last.params)
        same = [other for other, known in found.items() if known == own]
        notes += [f"{name} and {same[0]} have the same weights (fingerprint {own})"] if same else []
        found[name] = own
    return Checked(last, found), notes


def check_alike(name: str, one: Loaded, other_name: str, other: Loaded) -> None:
    """InputError unless two models have the same architecture, shapes and tokenizer.

    Chat templates and settings that only say how to compute (remat, kernel, type) may differ.
    """
    wanted, found = computes(one.model.config), computes(other.model.config)
    if differ := [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]:
        key, more = differ[0], f" (and {', '.join(differ[1:6])})" if len(differ) > 1 else ""
        raise InputError(
            f"{other_name} is of another architecture than {name}: model.{key} is {found.get(key)} there and "
            f"{wanted.get(key)} here{more}; parameters are mixed place by place, so merge fine-tunings of one model"
        )
    if not _same_vocabulary(one.tokenizer, other.tokenizer):
        raise InputError(
            f"{other_name} has another tokenizer than {name} (fingerprint {other.tokenizer.fingerprint[:16]} there, "
            f"{one.tokenizer.fingerprint[:16]} here): a row of the embedding is another token in each; merge models of "
            "one tokenizer"
        )


def _same_vocabulary(one: Any, other: Any) -> bool:
    """Whether two tokenizers give the same text for each id."""
    if one.fingerprint == other.fingerprint:
        return True
    same_size = one.vocab_size == other.vocab_size
    return same_size and all(one.decode([id]) == other.decode([id]) for id in range(one.vocab_size))


def measured_on(loaded: Loaded, config: EvaluateConfig, mesh: Any, say: Callable[[str], None]) -> Any:
    """A function from parameters to their numbers: those of the first prompt, and the nats of the solutions."""

    def measure(params: Params) -> dict[str, Any]:
        outcome = evaluate(loaded._replace(params=params), config, mesh)
        numbers = {**next(iter(outcome.numbers.values())), **outcome.likelihood}
        say("measured: " + ", ".join(f"{name} {number.mean:.4g}" for name, number in numbers.items()))
        return numbers

    return measure


def table_of(merged: Merged, caption: str = "") -> Table:
    """The measured models as rows: pass@k and nats per token where there are such numbers, else all of them."""
    every = list(dict.fromkeys(name for point in merged.points for name in point.numbers))
    names = [name for name in every if name.startswith("pass@") and "_" not in name or name == LOSS] or every
    heads = ["share of the second model" if any(point.share is not None for point in merged.points) else "model"]
    several = len({point.line for point in merged.points}) > 1
    rows: list[list[Any]] = []
    for line, points in _lines(merged).items():
        raised: list[Any] = list(barriers(points)) if points[0].share is not None else []
        raised = raised or [None] * len(points)
        for point, above in zip(points, raised, strict=True):
            label = f"{line} {point.label}" if several else point.label
            rows.append([label, *(point.numbers.get(name) for name in names), above])
    if all(row[-1] is None for row in rows):
        return Table([*heads, *names], [row[:-1] for row in rows], caption)
    return Table([*heads, *names, "barrier"], rows, caption)


def _lines(merged: Merged) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for point in merged.points:
        lines.setdefault(point.line, []).append(point)
    return lines


def figures_of(merged: Merged) -> list[Figure]:
    """pass@k over the share of the second model, and the loss, where a line was measured."""
    lines = {line: points for line, points in _lines(merged).items() if points[0].share is not None}
    out = []
    for stem, title, fits in (
        ("coverage", "pass@k", lambda name: name.startswith("pass@")),
        ("loss", "nats per token", lambda name: name.startswith("nats_per_token")),
    ):
        curves = {}
        for line, points in lines.items():
            for name in (name for name in points[0].numbers if fits(name)):
                mean, low, high = ([getattr(point.numbers[name], end) for point in points] for end in ENDS)
                shares = [point.share or 0.0 for point in points]
                curves[f"{name}, {line}" if line else name] = Curve(shares, mean, low, high)
        if curves:
            caption = f"{title} along the line between the two models; bands are bootstrap intervals over problems."
            labels = {"x_label": "share of the second model", "y_label": title}
            out.append(curves_plot(stem, curves, caption=caption, markers=True, **labels))
    return out


def report_of(merged: Merged, caption: str, notes: Sequence[str]) -> Report:
    """What was found, as a page."""
    text = "\n".join(f"- {note}" for note in notes)
    tables = (table_of(merged, caption),) if merged.points else ()
    parts = [Section("Measured", "", tables, tuple(figures_of(merged)))] if tables else []
    parts += [Section("Notes", text)] if text else []
    return Report("Merged model", parts, merged.about)


def save(merged: Merged, about: dict[str, Any], folder: pathlib.Path) -> None:
    """Write `merge.json`: every number with its interval."""
    points = [
        {"label": point.label, "share": point.share, "line": point.line}
        | {"numbers": {name: number._asdict() for name, number in point.numbers.items()}}
        for point in merged.points
    ]
    found = {"about": merged.about, **about, "points": points}
    write_text(folder / "merge.json", json.dumps(found, indent=2) + "\n")


def card_of(merged: Merged, notes: Sequence[str], weights: dict[str, str]) -> str:
    """The section of a model card that says what was merged."""
    from mtjax.reporting.markdown import table_of as as_markdown

    lines = ["Merged with mtjax.", "", merged.about, "", "| model | fingerprint of its weights |", "| --- | --- |"]
    lines += [f"| {name} | {own} |" for name, own in weights.items()]
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    lines += ["", as_markdown(table_of(merged))] if merged.points else []
    return "\n".join(lines) + "\n"
