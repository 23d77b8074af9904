"""The index: every example of a source as flat arrays, built once and kept in a cache file."""

import collections
import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.examples import Boundary, Example, Truncation, check_boundary, make_example, shorten
from mtjax.data.found import Found
from mtjax.data.packing import join_offsets
from mtjax.data.problem import OnError, Problem, Problems
from mtjax.data.sources import Source
from mtjax.data.tasks import Task
from mtjax.data.tasks.base import written_settings
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.files import atomic_file, delete_temporary
from mtjax.io.hashing import digest

CHECKED = 64  # Examples per source whose prompt is tokenised a second time, alone, to see that it has the same ids.
FORMAT = 3  # Raised when the same input gives another index than before, so that old files are not read.


class Counts(NamedTuple):
    """What became of a source's records on the way to examples."""

    skipped: int = 0  # records that could not be read
    unused: int = 0  # problems without anything that the task renders
    truncated: int = 0  # examples made shorter to fit, and trained
    dropped: int = 0  # examples left out because they do not fit
    targetless: int = 0  # examples left out because no token of them (or of one side of a pair) counts
    identical: int = 0  # pairs left out because both sides are the same tokens: nothing could be learnt from them
    unknown: int = 0  # targets that are the tokenizer's unknown token, in all examples

    @property
    def made(self) -> int:
        """Examples that were left out after they were made."""
        return self.dropped + self.targetless + self.identical


class Verbatim(str):
    """A text that is its own `repr`, for digests."""

    __repr__ = str.__str__


def written(task: Task) -> Verbatim:
    """A task for digests: its `repr`, with the settings of `written_settings`."""
    shown = ", ".join(f"{name}={value!r}" for name, value in written_settings(task).items())
    return Verbatim(f"{type(task).__qualname__}({shown})")


class Index(NamedTuple):
    """Examples as flat arrays: 8 bytes a token and about 100 an example, all in memory.

    An example is one sequence, or as many as a task has sides: a pair is two, the chosen one first. Sequence
    `e * sides + side` belongs to example e and holds tokens `offsets[q] .. offsets[q + 1] - 1`, where q is its number.
    """

    ids: list[str]  # name of each example
    sides: int  # sequences per example
    tokens: Int[np.ndarray, " tokens"]  # of all sequences, one after the other
    weights: Float[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " sequences_and_one"]
    per_sequence: dict[str, np.ndarray]  # by name: "polarity" (1 right, 0 wrong) and what the task adds
    per_token: dict[str, np.ndarray]  # by name, such as "step_ids"
    counts: Counts  # what was left out or shortened
    notes: tuple[str, ...]  # what there is to report, such as the first record that was skipped
    needed: Int[np.ndarray, " made"] | None = None  # tokens of each example, its longest side, before `data.truncation`

    @property
    def lengths(self) -> Int[np.ndarray, "n sides"]:
        """Tokens of each example, side by side."""
        return np.diff(self.offsets).reshape(-1, self.sides)


def join_indices(parts: Sequence[Index]) -> Index:
    """The examples of all parts, in their order; counts are added. All parts must come from one task."""
    join = lambda get: {name: np.concatenate([get(part)[name] for part in parts]) for name in get(parts[0])}
    numbers = list(dict.fromkeys(name for part in parts for name in part.per_sequence))
    absent = [np.zeros(len(part.offsets) - 1, np.float32) for part in parts]  # a sequence without a number counts 0
    return Index(
        ids=[name for part in parts for name in part.ids],
        sides=parts[0].sides,
        tokens=np.concatenate([part.tokens for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        offsets=join_offsets([part.offsets for part in parts]),
        per_sequence={
            name: np.concatenate([part.per_sequence.get(name, zero) for part, zero in zip(parts, absent, strict=True)])
            for name in numbers
        },
        per_token=join(lambda part: part.per_token),
        counts=Counts(*map(sum, zip(*(part.counts for part in parts), strict=True))),
        notes=tuple(note for part in parts for note in part.notes),
        needed=np.concatenate([part.lengths.max(axis=1) if part.needed is None else part.needed for part in parts]),
    )


def content_digest(index: Index) -> str:
    """A digest (hex) of all that training reads of the examples: names, tokens, weights and the task's numbers."""
    made = hashlib.blake2b("\0".join(index.ids).encode("utf-8", "surrogatepass"), digest_size=8)
    arrays = {"": {"tokens": index.tokens, "weights": index.weights, "offsets": index.offsets}}
    for group, named in (arrays | {"sequence": index.per_sequence, "token": index.per_token}).items():
        for name, values in sorted(named.items()):
            made.update(
                f"\0{group}.{name} {values.dtype} {values.shape}\0".encode() + np.ascontiguousarray(values).data
            )
    return made.hexdigest()


@dataclasses.dataclass(frozen=True)
class Fit:
    """What is done with text that does not fit, by length or at the edge between prompt and answer."""

    sequence_length: int
    truncation: Truncation
    boundary: Boundary


def build_index(
    source: Source, on_error: OnError, task: Task, tokenizer: Tokenizer, fit: Fit, cache_dir: str | None
) -> Index:
    """The examples of one source; read from `cache_dir` when nothing they depend on has changed.

    A cache file is written atomically, so several processes may build it at once; one that cannot be read is built
    again. Raises InputError if nothing is left to train on (the message says what became of the problems), or if the
    folder cannot be written.
    """
    parts = (
        FORMAT,
        source.fingerprint(),
        on_error,
        type(task).__name__,
        written(task),
        tokenizer.identity,
        fit,
        _own_code(task),
    )
    build = lambda: _build(source.problems(on_error), on_error, task, tokenizer, fit)
    if cache_dir is None:
        return build()
    path = pathlib.Path(cache_dir) / f"index-{digest(*parts)}.npz"
    try:
        if path.exists():
            return _read(path)
    except Exception as error:  # a damaged file can make NumPy and zipfile raise almost anything, even RuntimeError
        print(f"note: the cached examples in {path} are damaged ({error!r:.80}); they are made again")
    index = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_temporary(path.parent, older_than=3600)  # another process may be writing
        _write(path, index)
    except OSError as error:
        raise InputError(
            f"data.cache_dir={cache_dir!r} cannot be written ({error}); name a folder that can be, or None"
        ) from error
    return index


def _own_code(task: Task) -> bytes:
    """The file that defines a task of a user's own, because its settings do not say what its code does."""
    module = sys.modules.get(type(task).__module__)
    file = getattr(module, "__file__", None)
    return pathlib.Path(file).read_bytes() if file and not type(task).__module__.startswith("mtjax.") else b""


def _read(path: pathlib.Path) -> Index:
    # Opened here: np.load leaves the file open when it is damaged.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays: dict[str, Any] = {"": {}, "per_sequence": {}, "per_token": {}}
        for name in file.files:
            group, _, own = name.rpartition(".")
            arrays[group][own] = file[name]
    arrays |= arrays.pop("")
    arrays |= json.loads(arrays.pop("text").tobytes().decode())
    return Index(**arrays)._replace(counts=Counts(**arrays["counts"]), notes=tuple(arrays["notes"]))


def _write(path: pathlib.Path, index: Index) -> None:
    text = {"ids": index.ids, "sides": index.sides, "counts": index.counts._asdict(), "notes": index.notes}
    arrays = {name: getattr(index, name) for name in ("tokens", "weights", "offsets", "needed")}
    for group in ("per_sequence", "per_token"):
        arrays |= {f"{group}.{name}": values for name, values in getattr(index, group).items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, text=np.frombuffer(json.dumps(text).encode(), np.uint8), **arrays)


def _build(problems: Problems, on_error: OnError, task: Task, tokenizer: Tokenizer, fit: Fit) -> Index:
    count = Counts(skipped=problems.skipped)._asdict()
    found = Found(task, tokenizer)
    ids: list[str] = []
    tokens: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    needed: list[int] = []
    per_sequence: list[Mapping[str, float]] = []
    per_token: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    for problem in problems.items:
        try:
            examples = _examples_of(problem, found, fit, check=len(needed) < CHECKED)
        except InputError as error:
            if on_error == "raise":
                raise InputError(f"{error} (or skip such records with data.on_error=skip)") from error
            count["skipped"] += 1
            found.add("fault", str(error))
            continue
        count["unused"] += not examples
        for full in examples:
            needed.append(max(len(side.tokens) for side in full))
            example = shorten(full, fit.sequence_length, fit.truncation, tokenizer.bos_id)
            if example is None:
                count["dropped"] += 1
                continue
            if not all(side.target for side in example):
                count["targetless"] += 1
                continue
            if len(example) > 1 and len({side.tokens.tobytes() for side in example}) == 1:
                count["identical"] += 1
                continue
            count["truncated"] += any(
                len(cut.tokens) < len(side.tokens) for cut, side in zip(example, full, strict=True)
            )
            count["unknown"] += sum(side.unknown for side in example)
            if differences := [side.misspelt for side in example if side.misspelt]:
                found.add("misspelt", f"{problem.place}: {differences[0]}")
            ids.append(example[0].id)
            for side in example:
                tokens.append(side.tokens)
                weights.append(side.weights)
                per_sequence.append(side.extras)
                for name, values in side.per_token.items():
                    per_token[name].append(values.astype(np.int32))
    counts = Counts(**count)
    if not ids:
        raise InputError(_nothing_left(len(problems.items), counts, task, fit, [*problems.notes, *found.notes()]))
    return Index(
        ids=ids,
        sides=task.sides,
        tokens=np.concatenate(tokens),
        weights=np.concatenate(weights),
        offsets=np.cumsum([0, *map(len, tokens)]),
        per_sequence={
            name: np.array([extras.get(name, 0.0) for extras in per_sequence], np.float32)
            for name in dict.fromkeys(name for extras in per_sequence for name in extras)
        },
        per_token={name: np.concatenate(values) for name, values in per_token.items()},
        counts=counts,
        notes=(*problems.notes, *found.notes()),
        needed=np.array(needed, np.int32),
    )


def _examples_of(problem: Problem, found: Found, fit: Fit, check: bool) -> list[list[Example]]:
    """The examples that the task makes of a problem, each of as many sequences as the task has sides.

    With `check`, the prompt is tokenised a second time, alone, to see that it has the same ids. Raises InputError,
    which names file, line and id, for whatever goes wrong.
    """
    task, tokenizer = found.task, found.tokenizer
    try:
        rendered = task.render(found.look(problem), tokenizer)
        examples = []
        for texts in zip(*[iter(rendered)] * task.sides, strict=True):
            sides = [make_example(text, problem.id, tokenizer, boundary=fit.boundary) for text in texts]
            for text, side in zip(texts, sides, strict=True) if check and fit.boundary == "raise" else ():
                check_boundary(text, side, tokenizer)
            found.remark(texts, sides[0].id)
            examples.append(sides)
    except InputError as error:
        named = problem.place in str(error)
        raise InputError(str(error) if named else f"{problem.place}: {error}") from error
    except Exception as error:
        raise InputError(
            f"{problem.place}: the task '{task.name}' fails on this record ({type(error).__name__}: {error})"
        ) from error
    return examples


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
