"""From a source to its index: read, render, tokenise, fit, count."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

from mtjax.data.examples import Example, check_boundary, make_example, shorten_sides
from mtjax.data.index import Counts, Index, cached_index, make_index
from mtjax.data.problem import OnError, Problems
from mtjax.data.sources import Source
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import digest

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
        way_out = f"the task '{task.name}' finds nothing in them: it needs {NEEDS[task.name]}"
    else:
        way_out = "the source is empty; check its path and split"
    return (
        f"0 of {problems} problems gave an example to train on ({counts.skipped} unreadable, {counts.unused} unused, "
        f"{counts.dropped} too long, {counts.targetless} without target): {way_out}"
    )


NEEDS = {
    "completion": "a completion or right solutions",
    "mistake": "right or wrong solutions",
    "chat": "messages, or right solutions",
    "pair": "pairs, or both right and wrong solutions",
}
"""What a problem must have for each task, in words."""
