"""Pieces of a source: some records at a time become arrays of examples, here or in a worker process.

What is made of a piece depends on its records alone, so it is the same wherever it is made. Pieces are merged in their
order (`mtjax.data.index`).
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.arrays import Counts
from mtjax.data.example_batch import make_examples
from mtjax.data.examples import Boundary, Example, Truncation, check_boundary, shorten
from mtjax.data.found import Found
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources.base import Seen, streams
from mtjax.data.tasks import Task
from mtjax.data.tasks.base import Rendered
from mtjax.errors import InputError

PIECE = 1024  # Records that are tokenised together; enough for the tokenizer to use all cores.


@dataclasses.dataclass(frozen=True)
class Fit:
    """What is done with text that does not fit, by length or at the edge between prompt and answer."""

    sequence_length: int
    truncation: Truncation
    boundary: Boundary


class Work(NamedTuple):
    """How records become examples."""

    source: Any
    on_error: OnError
    task: Task
    tokenizer: Any  # a `Tokenizer`
    fit: Fit


class Piece(NamedTuple):
    """What became of some records."""

    arrays: dict[str, np.ndarray]
    """As in an `Index`, but with `sizes` (tokens of each sequence) in place of `offsets`, and `name_sizes` of ends."""
    counts: dict[str, int]  # of `mtjax.data.arrays.Counts`
    number: int  # problems
    made: int  # examples, those that are left out included
    targets: int  # tokens with a weight that are predicted
    found: Found  # what there is to report about the texts
    seen: Seen | None  # what there is to report about the records; None where the source has said it itself


def pieces_of(work: Work) -> tuple[Iterator[list[Any]], Any]:
    """The records of a source in pieces, and its problems where it does not give records one by one.

    A piece has rows (`mtjax.io.containers.Row`) of a source that streams, else problems.
    """
    if streams(work.source):
        return _cut(work.source.records()), None
    problems = work.source.problems(work.on_error)
    return _cut(problems.items), problems


def _cut(items: Iterable[Any]) -> Iterator[list[Any]]:
    items = iter(items)
    while piece := list(itertools.islice(items, PIECE)):
        yield piece


def make_piece(work: Work, items: Sequence[Any], check: int = 0, before: Seen | None = None) -> Piece:
    """The examples of some records; InputError for one that cannot be read or rendered, unless such are skipped.

    Args:
        work: how.
        items: rows or problems, as `pieces_of` gives them.
        check: of so many examples the prompt is tokenised a second time, alone, to see that it has the same ids.
        before: what the records before them were, where it matters.
    """
    found, seen, problems = Found(work.task, work.tokenizer), None, items
    if streams(work.source):
        stream = work.source.stream(work.on_error, items, before)
        problems, seen = list(stream.items), stream.seen
    count, needed, kept = Counts()._asdict(), list[int](), list[list[Example]]()
    for problem, examples in _examples_of(problems, found, work.fit, check):
        if isinstance(examples, InputError):
            if work.on_error == "raise":
                raise InputError(f"{examples} (or skip such records with data.on_error=skip)") from examples
            count["skipped"] += 1
            found.add("fault", str(examples))
            continue
        count["unused"] += not examples
        for full in examples:
            needed.append(max(len(side.tokens) for side in full))
            if (example := _fitted(full, work, count)) is not None:
                count["unknown"] += sum(side.unknown for side in example)
                if differences := [side.misspelt for side in example if side.misspelt]:
                    found.add("misspelt", f"{problem.place}: {differences[0]}")
                kept.append(example)
    arrays = {"needed": np.array(needed, np.int32)} | _arrays(kept)
    return Piece(arrays, count, len(problems), len(needed), _targets(arrays), found, seen)


def _fitted(full: list[Example], work: Work, count: dict[str, int]) -> list[Example] | None:
    """The sides of an example as they are trained; None, and counted, where it is left out."""
    fit, tokenizer, enough = work.fit, work.tokenizer, any if work.task.ragged else all
    closing_id = None if tokenizer.closing is None else tokenizer.end_id
    example = shorten(full, fit.sequence_length, fit.truncation, tokenizer.bos_id, closing_id)
    if example is None:
        count["dropped"] += 1
        return None
    if not enough(side.weights[1:].any() for side in example):
        count["targetless"] += 1
        return None
    if len(example) > 1 and len({side.tokens.tobytes() for side in example}) == 1:
        count["identical"] += 1
        return None
    count["truncated"] += any(len(cut.tokens) < len(side.tokens) for cut, side in zip(example, full, strict=True))
    return example


def _arrays(examples: list[list[Example]]) -> dict[str, np.ndarray]:
    """Examples as arrays; none where there are no examples."""
    if not examples:
        return {}
    names = [example[0].id.encode("utf-8", "surrogatepass") for example in examples]
    sides = [side for example in examples for side in example]
    arrays: dict[str, np.ndarray] = {
        "names": np.frombuffer(b"".join(names), np.uint8),
        "name_sizes": np.array([len(name) for name in names], np.int64),
        "tokens": np.concatenate([side.tokens for side in sides]),
        "weights": np.concatenate([side.weights for side in sides]),
        "sizes": np.array([len(side.tokens) for side in sides], np.int64),
    }
    for name in dict.fromkeys(name for side in sides for name in side.extras):
        values = [side.extras.get(name, 0.0) for side in sides]  # a sequence without a number counts 0
        arrays[f"per_sequence.{name}"] = np.array(values, np.float32)
    for name in dict.fromkeys(name for side in sides for name in side.per_token):
        zeros = lambda side: np.zeros(len(side.tokens), np.int32)
        per_token = [side.per_token[name] if name in side.per_token else zeros(side) for side in sides]
        joined = np.concatenate(per_token)
        arrays[f"per_token.{name}"] = joined.astype(np.float32 if joined.dtype.kind == "f" else np.int32)
    return arrays


def _targets(arrays: dict[str, np.ndarray]) -> int:
    if "tokens" not in arrays:
        return 0
    weights, sizes = arrays["weights"], arrays["sizes"]
    first = np.cumsum(sizes) - sizes
    return int(np.count_nonzero(weights)) - int(np.count_nonzero(weights[first[sizes > 0]]))


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
            if problem.difficulty is not None:
                own = [one._replace(extras={**one.extras, "difficulty": problem.difficulty}) for one in own]
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
