"""The index: every example of a source as flat arrays, built once and kept in a file beside the data cache."""

import array
import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.examples import Example, check_boundary, make_example, shorten_sides
from mtjax.data.problem import OnError, Problems
from mtjax.data.sources import Source
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.files import atomic_file
from mtjax.io.hashing import digest


class Counts(NamedTuple):
    """What became of a source's records on the way to examples.

    Attributes:
        skipped: records that could not be read.
        unused: problems without anything that the task renders.
        truncated: examples made shorter to fit, and trained.
        dropped: examples left out because they do not fit.
        targetless: examples left out because no token of them (or of one side of a pair) counts.
        identical: pairs left out because both sides are the same tokens: nothing could be learnt from them.
    """

    skipped: int = 0
    unused: int = 0
    truncated: int = 0
    dropped: int = 0
    targetless: int = 0
    identical: int = 0


class Index(NamedTuple):
    """Examples as flat arrays: 8 bytes a token and about 100 an example, all in memory.

    An example is one sequence, or as many as a task has sides: a pair is two, the chosen one first. Sequence
    `e * sides + side` belongs to example e.

    Attributes:
        ids: name of each example.
        sides: sequences per example.
        tokens: ids of all sequences, one after the other.
        weights: their weights.
        offsets: sequence q holds tokens `offsets[q] .. offsets[q + 1] - 1`; one entry more than there are sequences.
        per_sequence: one number per sequence, by name: "polarity" (1 right, 0 wrong) and what the task adds.
        per_token: one number per token, by name, such as "step_ids".
        counts: what was left out or shortened.
        notes: what the source had to say, such as the first record it skipped.
    """

    ids: list[str]
    sides: int
    tokens: Int[np.ndarray, " tokens"]
    weights: Float[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " sequences_and_one"]
    per_sequence: dict[str, np.ndarray]
    per_token: dict[str, np.ndarray]
    counts: Counts
    notes: tuple[str, ...]

    @property
    def lengths(self) -> Int[np.ndarray, "n sides"]:
        """Tokens of each example, side by side."""
        return np.diff(self.offsets).reshape(-1, self.sides)


def make_index(
    examples: Iterable[Sequence[Example]], counts: Callable[[], Counts], notes: tuple[str, ...] = ()
) -> Index:
    """Gather examples, each given as its sides; `counts` is asked when the last of them has been made."""
    ids: list[str] = []
    sides = 1
    tokens, weights, lengths = array.array("i"), array.array("f"), array.array("q", [0])
    per_sequence: dict[str, array.array] = {}
    per_token: dict[str, array.array] = {}
    for example in examples:
        ids.append(example[0].id)
        sides = len(example)
        for side in example:
            tokens.frombytes(side.tokens.tobytes())
            weights.frombytes(side.weights.tobytes())
            lengths.append(len(side.tokens))
            for name, value in side.extras.items():
                per_sequence.setdefault(name, array.array("f")).append(value)
            for name, values in side.per_token.items():
                per_token.setdefault(name, array.array("i")).frombytes(values.astype(np.int32).tobytes())
    return Index(
        ids=ids,
        sides=sides,
        tokens=np.array(tokens, np.int32),
        weights=np.array(weights, np.float32),
        offsets=np.cumsum(np.array(lengths, np.int64)),
        per_sequence={name: np.array(values, np.float32) for name, values in per_sequence.items()},
        per_token={name: np.array(values, np.int32) for name, values in per_token.items()},
        counts=counts(),
        notes=notes,
    )


def join_indices(parts: Sequence[Index]) -> Index:
    """The examples of all parts, in their order; counts are added. All parts must come from one task."""
    starts = np.cumsum([0, *(len(part.tokens) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    join = lambda get: {name: np.concatenate([get(part)[name] for part in parts]) for name in get(parts[0])}
    return Index(
        ids=[name for part in parts for name in part.ids],
        sides=parts[0].sides,
        tokens=np.concatenate([part.tokens for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        offsets=np.concatenate([*offsets, starts[-1:]]),
        per_sequence=join(lambda part: part.per_sequence),
        per_token=join(lambda part: part.per_token),
        counts=Counts(*(sum(column) for column in zip(*(part.counts for part in parts), strict=True))),
        notes=tuple(note for part in parts for note in part.notes),
    )


def cached_index(cache_dir: str | None, fingerprint: str, build: Callable[[], Index]) -> Index:
    """The index called `fingerprint`: read from `cache_dir`, or built and written there.

    The file appears whole or not at all (it is renamed into place), so a killed run leaves nothing half written and
    several processes may build it at once. Whatever changes the examples must change the fingerprint. A file that
    cannot be read is built anew. Without `cache_dir` nothing is written. Raises InputError where the folder cannot be
    written.
    """
    if cache_dir is None:
        return build()
    path = pathlib.Path(cache_dir) / f"index-{fingerprint}.npz"
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        index = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, index)
    except OSError as error:
        raise InputError(
            f"data.cache_dir={cache_dir!r} cannot be written ({error}); name a folder that can be, or None"
        ) from error
    return index


def _read(path: pathlib.Path) -> Index:
    # Opened here: np.load leaves the file open when it is damaged.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        text = json.loads(file["text"].tobytes().decode())
        named = {
            group: {name.removeprefix(f"{group}."): file[name] for name in file.files if name.startswith(f"{group}.")}
            for group in ("per_sequence", "per_token")
        }
        return Index(
            tokens=file["tokens"],
            weights=file["weights"],
            offsets=file["offsets"],
            per_sequence=named["per_sequence"],
            per_token=named["per_token"],
            ids=text["ids"],
            sides=text["sides"],
            counts=Counts(**text["counts"]),
            notes=tuple(text["notes"]),
        )


def _write(path: pathlib.Path, index: Index) -> None:
    text = {"ids": index.ids, "sides": index.sides, "counts": index.counts._asdict(), "notes": index.notes}
    arrays = {name: getattr(index, name) for name in ("tokens", "weights", "offsets")}
    for group in ("per_sequence", "per_token"):
        arrays |= {f"{group}.{name}": values for name, values in getattr(index, group).items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, text=np.frombuffer(json.dumps(text).encode(), np.uint8), **arrays)


CHECKED = 64
"""Examples per source whose prompt is tokenised a second time, alone, to see that it has the same ids."""


FORMAT = 2
"""Raised when the same input gives another index than before, so that old files are not read."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """What is done with text that does not fit, by length or at the edge between prompt and answer."""

    sequence_length: int
    truncation: Literal["drop", "left", "keep"]
    boundary: Literal["raise", "allow"]


def build_index(
    source: Source, on_error: OnError, task: Task, tokenizer: Tokenizer, fit: Fit, cache_dir: str | None
) -> Index:
    """The examples of one source; read from `cache_dir` when nothing they depend on has changed.

    Raises InputError where nothing is left to train on; the message says what became of the problems.
    """
    parts = (FORMAT, source.fingerprint(), on_error, type(task).__name__, task, tokenizer.fingerprint, fit)
    return cached_index(cache_dir, digest(*parts), lambda: _build(source.problems(on_error), task, tokenizer, fit))


def _build(problems: Problems, task: Task, tokenizer: Tokenizer, fit: Fit) -> Index:
    count = Counts(skipped=problems.skipped)._asdict()

    def examples() -> Iterator[Sequence[Example]]:
        made = 0
        for problem in problems.items:
            rendered = task.render(problem, tokenizer)
            count["unused"] += not rendered
            for texts in zip(*[iter(rendered)] * task.sides, strict=True):
                whole = [make_example(text, problem.id, tokenizer, boundary=fit.boundary) for text in texts]
                if fit.boundary == "raise" and made < CHECKED:
                    for text, side in zip(texts, whole, strict=True):
                        check_boundary(text, side, tokenizer)
                made += 1
                example = shorten_sides(whole, fit.sequence_length, fit.truncation, tokenizer.bos_id)
                if example is None:
                    count["dropped"] += 1
                elif not all(side.target for side in example):
                    count["targetless"] += 1
                elif len(example) > 1 and len({side.tokens.tobytes() for side in example}) == 1:
                    count["identical"] += 1
                else:
                    sizes = zip(example, whole, strict=True)
                    count["truncated"] += any(len(cut.tokens) < len(side.tokens) for cut, side in sizes)
                    yield example

    index = make_index(examples(), lambda: Counts(**count), problems.notes)
    if not index.ids:
        raise InputError(_nothing_left(len(problems.items), index.counts, task, fit))
    return index


def _nothing_left(problems: int, counts: Counts, task: Task, fit: Fit) -> str:
    if counts.dropped:
        way_out = f"they are longer than data.sequence_length={fit.sequence_length}: raise it, or set data.truncation"
    elif counts.identical:
        way_out = "both sides of every pair are the same text; look at how the pairs were made"
    elif counts.targetless:
        way_out = "no token of theirs is a target: solutions are empty, or data.truncation cuts them off"
    elif counts.unused:
        way_out = f"the task '{task.name}' finds nothing in them: it needs {task.needs}"
    else:
        way_out = "the source is empty; check its path and split"
    return (
        f"0 of {problems} problems gave an example to train on ({counts.skipped} unreadable, {counts.unused} unused, "
        f"{counts.dropped} too long, {counts.targetless} without target): {way_out}"
    )
