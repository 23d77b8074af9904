"""The index of a source: its examples as flat arrays, built piece by piece, once, and kept in a cache folder."""

import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from mtjax.data.arrays import Counts, Index, content_digest, join_indices  # noqa: F401  (names others import from here)
from mtjax.data.cache import DataCache
from mtjax.data.found import Found
from mtjax.data.pieces import Fit, Piece, Work, make_piece, pieces_of
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import Source
from mtjax.data.stored import Column, Names, Writer
from mtjax.data.tasks import Task
from mtjax.data.tasks.base import written_settings
from mtjax.data.tokenizer import Tokenizer
from mtjax.data.workers import in_order
from mtjax.errors import InputError
from mtjax.io.progress import progress

CHECKED = 64  # Examples per source whose prompt is tokenised a second time, alone, to see that it has the same ids.
FORMAT = 4  # Raised when the same input gives another index than before, so that old files are not read.


class NothingLeft(InputError):
    """A source gives no example to train on."""


class Verbatim(str):
    """A text that is its own `repr`, for digests."""

    __repr__ = str.__str__


def written(task: Task) -> Verbatim:
    """A task for digests: its `repr`, with the settings of `written_settings`."""
    shown = ", ".join(f"{name}={value!r}" for name, value in written_settings(task).items())
    return Verbatim(f"{type(task).__qualname__}({shown})")


def build_index(
    source: Source,
    on_error: OnError,
    task: Task,
    tokenizer: Tokenizer,
    fit: Fit,
    cache: DataCache | str | None,
    workers: int = 1,
) -> Index:
    """The examples of one source; read from the cache when nothing they depend on has changed.

    Without a cache they are in memory. With one, records are read and tokenised piece by piece and written to files, so
    memory does not grow with them; see `mtjax.data.cache` for several runs and kills, and `mtjax.data.workers` for
    `workers`, processes of this run. Raises NothingLeft if nothing
    is left to train on (the message says what became of the problems), or if the folder cannot be written.
    """
    build = lambda writer: _build(Work(source, on_error, task, tokenizer, fit), writer, workers)
    if cache is None:
        writer = Writer()
        about = build(writer)
        return _index_of(writer.columns(), about)
    cache = cache if isinstance(cache, DataCache) else DataCache(cache)
    parts = (FORMAT, source.fingerprint(), on_error, type(task).__name__, written(task))
    columns, about = cache.get(("index", *parts, tokenizer.identity, fit, _own_code(task)), build, _finish)
    return _index_of(columns, about)


def _finish(columns: dict[str, Column], about: dict[str, Any]) -> dict[str, Any]:
    """What is computed once of the finished arrays."""
    return about | {"content": content_digest(_index_of(columns, about))}


def _index_of(columns: dict[str, Column], about: dict[str, Any]) -> Index:
    groups: dict[str, dict[str, Column]] = {"": {}, "per_sequence": {}, "per_token": {}}
    for name, column in columns.items():
        group, _, key = name.rpartition(".")
        groups[group][key] = column
    own: dict[str, Any] = groups.pop("")
    names = Names(own.pop("names"), own.pop("name_ends"))
    mapped = not isinstance(own["tokens"], np.ndarray)
    own |= groups | {"sides": about["sides"], "targets": about["targets"], "content": about.get("content")}
    return Index(
        ids=names if mapped else list(names), counts=Counts(**about["counts"]), notes=tuple(about["notes"]), **own
    )


def _build(work: Work, writer: Writer, workers: int) -> dict[str, Any]:
    """Write the examples of a source; returns what is not an array."""
    total = Counts()._asdict() | {"targets": 0, "made": 0, "number": 0}
    found = Found(work.task, work.tokenizer)
    pieces, problems = pieces_of(work)
    seen = work.source.stream(work.on_error, ()).seen if problems is None else None
    writer.add("offsets", np.zeros(1, np.int64))
    made_all = lambda: work.fit.boundary != "raise" or total["made"] >= CHECKED  # no prompt is left to check
    count = len(problems.items) if problems is not None and hasattr(problems.items, "__len__") else None
    for items, piece in _counted(in_order(work, pieces, workers, made_all), count):
        if piece is None or (seen is not None and seen.clashes(piece.seen)):
            # Here all that came before is known, and an error is raised where it belongs.
            piece = make_piece(work, items, max(CHECKED - total["made"], 0), seen)
        for name, count in (piece.counts | {"targets": piece.targets}).items():
            total[name] += count
        total["made"], total["number"] = total["made"] + piece.made, total["number"] + piece.number
        found.merge(piece.found)
        if seen is not None:
            seen.merge(piece.seen)
        _write(writer, piece.arrays)
    if seen is not None:
        seen.check()
    skipped, notes = (problems.skipped, problems.notes) if seen is None else (seen.skipped, seen.notes)
    total["skipped"] += skipped
    counts = Counts(**{name: total[name] for name in Counts._fields})
    notes = [*notes, *found.notes()]
    if "tokens" not in writer.sizes:
        first = next(iter(work.source.problems(work.on_error).items), None) if counts.unused else None
        raise NothingLeft(_nothing_left(total["number"], counts, work.task, work.fit, notes, first))
    return {"sides": work.task.sides, "counts": counts._asdict(), "notes": notes, "targets": total["targets"]}


def _counted(
    pieces: Iterable[tuple[list[Any], Piece | None]], total: int | None
) -> Iterator[tuple[list[Any], Piece | None]]:
    """The pieces, with a bar that counts their records."""
    with progress("tokenising", total) as advance:
        for items, piece in pieces:
            yield items, piece
            advance(len(items))


def _write(writer: Writer, arrays: dict[str, np.ndarray]) -> None:
    """Append the arrays of a piece."""
    writer.add("needed", arrays["needed"])
    if "tokens" not in arrays:
        return
    sequences, tokens = writer.sizes["offsets"] - 1, writer.sizes.get("tokens", 0)
    writer.add("name_ends", writer.sizes.get("names", 0) + np.cumsum(arrays["name_sizes"]))
    writer.add("offsets", tokens + np.cumsum(arrays["sizes"]))
    for name in ("names", "tokens", "weights"):
        writer.add(name, arrays[name])
    for group, before in (("per_sequence", sequences), ("per_token", tokens)):
        own = [name for name in arrays if name.startswith(f"{group}.")]
        for name in dict.fromkeys([*(name for name in writer.types if name.startswith(f"{group}.")), *own]):
            dtype = arrays[name].dtype if name in arrays else writer.types[name]
            writer.fill(name, before, dtype)  # a sequence without a number counts 0
            size = len(arrays["sizes"] if group == "per_sequence" else arrays["tokens"])
            writer.add(name, arrays.get(name, np.zeros(size, dtype)))


def _own_code(task: Task) -> bytes:
    """The file that defines a task of a user's own, because its settings do not say what its code does."""
    module = sys.modules.get(type(task).__module__)
    file = getattr(module, "__file__", None)
    return pathlib.Path(file).read_bytes() if file and not type(task).__module__.startswith("mtjax.") else b""


def _nothing_left(
    problems: int, counts: Counts, task: Task, fit: Fit, notes: Sequence[str], first: Problem | None
) -> str:
    reasons = (
        (counts.skipped and not counts.made, "; ".join(notes)),
        (counts.dropped, f"longer than data.sequence_length={fit.sequence_length}: raise it, or set data.truncation"),
        (counts.identical, "both sides of every pair are the same text; look at how the pairs were made"),
        (counts.targetless, "no token of theirs is a target: solutions are empty, or data.truncation cuts them off"),
        (counts.unused, f"the task '{task.name}' finds nothing in them: it needs {task.needs}"),
        (True, "the source is empty; check its path and split"),
    )
    way_out = next(text for count, text in reasons if count)
    if first is not None and len((first.answer or "").split()) > 8:
        way_out += "; whole solutions that are called 'answer' are read with --data.source.columns question=prompt "
        way_out += "answer=completion, or with data.source:gsm8k"
    return (
        f"0 of {problems} problems gave an example to train on ({counts.skipped} unreadable, {counts.unused} unused, "
        f"{counts.dropped} too long, {counts.targetless} without target): {way_out}"
    )
