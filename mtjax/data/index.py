"""The index of a source: its examples as flat arrays, built piece by piece, once, and kept in a cache folder."""

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjax.data.arrays import Counts, Index, content_digest, join_indices  # noqa: F401  (names others import from here)
from mtjax.data.cache import DataCache
from mtjax.data.example_batch import make_examples
from mtjax.data.examples import Boundary, Example, Truncation, check_boundary, shorten
from mtjax.data.found import Found
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import Source
from mtjax.data.sources.base import streamed
from mtjax.data.stored import Column, Names, Writer
from mtjax.data.tasks import Task
from mtjax.data.tasks.base import Rendered, written_settings
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError

CHECKED = 64  # Examples per source whose prompt is tokenised a second time, alone, to see that it has the same ids.
FORMAT = 4  # Raised when the same input gives another index than before, so that old files are not read.
PIECE = 1024  # Problems that are tokenised together; enough for the tokenizer to use all cores.


class Verbatim(str):
    """A text that is its own `repr`, for digests."""

    __repr__ = str.__str__


def written(task: Task) -> Verbatim:
    """A task for digests: its `repr`, with the settings of `written_settings`."""
    shown = ", ".join(f"{name}={value!r}" for name, value in written_settings(task).items())
    return Verbatim(f"{type(task).__qualname__}({shown})")


@dataclasses.dataclass(frozen=True)
class Fit:
    """What is done with text that does not fit, by length or at the edge between prompt and answer."""

    sequence_length: int
    truncation: Truncation
    boundary: Boundary


def build_index(
    source: Source, on_error: OnError, task: Task, tokenizer: Tokenizer, fit: Fit, cache: DataCache | str | None
) -> Index:
    """The examples of one source; mapped from the cache when nothing they depend on has changed.

    Without a cache they are in memory. With one, records are read and tokenised piece by piece and written to files, so
    memory does not grow with them; see `mtjax.data.cache` for several processes and kills. Raises InputError if nothing
    is left to train on (the message says what became of the problems), or if the folder cannot be written.
    """
    build = lambda writer: _build(source, on_error, task, tokenizer, fit, writer)
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


def _build(
    source: Source, on_error: OnError, task: Task, tokenizer: Tokenizer, fit: Fit, writer: Writer
) -> dict[str, Any]:
    """Write the examples of a source; returns what is not an array."""
    problems, found = streamed(source, on_error), Found(task, tokenizer)
    count, targets, made, number = Counts()._asdict(), 0, 0, 0
    writer.add("offsets", np.zeros(1, np.int64))
    items = iter(problems.items)
    while piece := list(itertools.islice(items, PIECE)):
        number += len(piece)
        kept, needed = [], []
        for problem, examples in _examples_of(piece, found, fit, max(CHECKED - made, 0)):
            if isinstance(examples, InputError):
                if on_error == "raise":
                    raise InputError(f"{examples} (or skip such records with data.on_error=skip)") from examples
                count["skipped"] += 1
                found.add("fault", str(examples))
                continue
            count["unused"] += not examples
            for full in examples:
                needed.append(max(len(side.tokens) for side in full))
                if (example := _fitted(full, fit, tokenizer, count)) is not None:
                    count["unknown"] += sum(side.unknown for side in example)
                    if differences := [side.misspelt for side in example if side.misspelt]:
                        found.add("misspelt", f"{problem.place}: {differences[0]}")
                    kept.append(example)
        made += len(needed)
        writer.add("needed", np.array(needed, np.int32))
        targets += _write_piece(writer, kept)
    counts = Counts(**count | {"skipped": count["skipped"] + problems.skipped})
    notes = [*problems.notes, *found.notes()]
    if "tokens" not in writer.sizes:
        raise InputError(_nothing_left(number, counts, task, fit, notes))
    return {"sides": task.sides, "counts": counts._asdict(), "notes": notes, "targets": targets}


def _fitted(full: list[Example], fit: Fit, tokenizer: Tokenizer, count: dict[str, int]) -> list[Example] | None:
    """The sides of an example as they are trained; None, and counted, where it is left out."""
    closing_id = None if tokenizer.closing is None else tokenizer.end_id
    example = shorten(full, fit.sequence_length, fit.truncation, tokenizer.bos_id, closing_id)
    if example is None:
        count["dropped"] += 1
        return None
    if not all(side.weights[1:].any() for side in example):
        count["targetless"] += 1
        return None
    if len(example) > 1 and len({side.tokens.tobytes() for side in example}) == 1:
        count["identical"] += 1
        return None
    count["truncated"] += any(len(cut.tokens) < len(side.tokens) for cut, side in zip(example, full, strict=True))
    return example


def _write_piece(writer: Writer, examples: list[list[Example]]) -> int:
    """Append examples to the arrays; returns how many of their tokens are targets."""
    if not examples:
        return 0
    names = [example[0].id.encode("utf-8", "surrogatepass") for example in examples]
    writer.add("names", np.frombuffer(b"".join(names), np.uint8))
    start = writer.sizes["names"] - sum(map(len, names))
    writer.add("name_ends", start + np.cumsum([len(name) for name in names], dtype=np.int64))
    sides = [side for example in examples for side in example]
    before, tokens = writer.sizes["offsets"] - 1, writer.sizes.get("tokens", 0)
    sizes = np.array([len(side.tokens) for side in sides], np.int64)
    weights = np.concatenate([side.weights for side in sides])
    writer.add("tokens", np.concatenate([side.tokens for side in sides]))
    writer.add("weights", weights)
    writer.add("offsets", tokens + np.cumsum(sizes))
    per_sequence = dict.fromkeys(name for side in sides for name in side.extras)
    for name in dict.fromkeys([*(x for x in writer.types if x.startswith("per_sequence.")), *_named(per_sequence)]):
        writer.fill(name, before, np.float32)  # a sequence without a number counts 0
        own = name.partition(".")[2]
        writer.add(name, np.array([side.extras.get(own, 0.0) for side in sides], np.float32))
    for name in dict.fromkeys(name for side in sides for name in side.per_token):
        writer.fill(f"per_token.{name}", tokens, np.int32)
        zeros = lambda side: np.zeros(len(side.tokens), np.int32)
        values = [side.per_token[name] if name in side.per_token else zeros(side) for side in sides]
        writer.add(f"per_token.{name}", np.concatenate(values).astype(np.int32))
    first = np.cumsum(sizes) - sizes
    return int(np.count_nonzero(weights)) - int(np.count_nonzero(weights[first[sizes > 0]]))


def _named(names: dict[str, None]) -> list[str]:
    return [f"per_sequence.{name}" for name in names]


def _examples_of(
    problems: Sequence[Problem], found: Found, fit: Fit, check: int
) -> list[tuple[Problem, list[list[Example]] | InputError]]:
    """The examples that the task makes of each problem, each of as many sequences as the task has sides.

    Of the first `check` examples, the prompt is tokenised a second time, alone, to see that it has the same ids. An
    InputError, which names file, line and id, stands for whatever goes wrong.
    """
    task, tokenizer = found.task, found.tokenizer
    rendered: list[list[Rendered] | Exception] = []
    for problem in problems:
        try:
            own = list(task.render(found.look(problem), tokenizer))
            if len(own) % task.sides:
                raise ValueError(f"{len(own)} texts; expected {task.sides} for each example")
            rendered.append(own)
        except Exception as error:
            rendered.append(error)
    pairs = zip(problems, rendered, strict=True)
    flat = [(text, p.id) for p, texts in pairs if not isinstance(texts, Exception) for text in texts]
    made = iter(make_examples([text for text, _ in flat], [id for _, id in flat], tokenizer, boundary=fit.boundary))
    out: list[tuple[Problem, list[list[Example]] | InputError]] = []
    for problem, texts in zip(problems, rendered, strict=True):
        try:
            if isinstance(texts, Exception):
                raise texts
            examples: list[list[Example]] = []
            all_sides = list(itertools.islice(made, len(texts)))
            for start in range(0, len(texts), task.sides):
                some, sides = texts[start : start + task.sides], list[Example]()
                for side in all_sides[start : start + task.sides]:
                    if isinstance(side, InputError):
                        raise side
                    sides.append(side)
                for text, side in zip(some, sides, strict=True) if check > 0 and fit.boundary == "raise" else ():
                    check_boundary(text, side, tokenizer)
                found.remark(some, sides[0].id)
                examples.append(sides)
            check -= len(examples)
            out.append((problem, examples))
        except InputError as error:
            named = problem.place in str(error)
            out.append((problem, InputError(str(error) if named else f"{problem.place}: {error}")))
        except Exception as error:
            what = f"the task '{task.name}' fails on this record ({type(error).__name__}: {error})"
            out.append((problem, InputError(f"{problem.place}: {what}")))
    return out


def _own_code(task: Task) -> bytes:
    """The file that defines a task of a user's own, because its settings do not say what its code does."""
    module = sys.modules.get(type(task).__module__)
    file = getattr(module, "__file__", None)
    return pathlib.Path(file).read_bytes() if file and not type(task).__module__.startswith("mtjax.") else b""


def _nothing_left(problems: int, counts: Counts, task: Task, fit: Fit, notes: Sequence[str]) -> str:
    reasons = (
        (counts.skipped and not counts.made, "; ".join(notes)),
        (counts.dropped, f"longer than data.sequence_length={fit.sequence_length}: raise it, or set data.truncation"),
        (counts.identical, "both sides of every pair are the same text; look at how the pairs were made"),
        (counts.targetless, "no token of theirs is a target: solutions are empty, or data.truncation cuts them off"),
        (counts.unused, f"the task '{task.name}' finds nothing in them: it needs {task.needs}"),
        (True, "the source is empty; check its path and split"),
    )
    way_out = next(text for count, text in reasons if count)
    return (
        f"0 of {problems} problems gave an example to train on ({counts.skipped} unreadable, {counts.unused} unused, "
        f"{counts.dropped} too long, {counts.targetless} without target): {way_out}"
    )
