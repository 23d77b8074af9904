"""Batches: the packed rows of step n, from the settings, the seed and n alone."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Int

from mtjax.data.arrays import Index, content_digest, join_indices
from mtjax.data.cache import AUTO
from mtjax.data.curriculum import hardness_of, rows_hardness
from mtjax.data.examples import Boundary, Truncation
from mtjax.data.index import written
from mtjax.data.kept import fit_of, index_of, packed_rows
from mtjax.data.order import ONE_PASS, make_order
from mtjax.data.packing import Rows, enough_segments, first_that_fit, sample_of
from mtjax.data.problem import OnError, Problems
from mtjax.data.report import Report, check_repeats, make_report, repeats_of
from mtjax.data.selection import select, selected_sources
from mtjax.data.sources import AnySource
from mtjax.data.sources.memory import InConfigOnly
from mtjax.data.sources.mixture import mixing_of, parts_of
from mtjax.data.tasks import AnyTask
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.io.hashing import digest, random_order
from mtjax.types import Batch, short_repr
from mtjax.validation import PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What to train on, how it becomes text, and how text becomes rows."""

    before: ClassVar[Mapping[str, Any]] = {"boundary": "raise"}  # see `mtjax.data.tasks.base.Task`

    source: AnySource  # Where problems come from.
    task: AnyTask  # How a problem becomes text, and which of it counts; must be the task of the objective.
    tokenizer: str | None = None  # Name of one (bytes, arithmetic, smollm2), folder or hub id; None: the model's own.
    sequence_length: int = 1024  # Tokens per row.
    max_segments: int | Literal["auto"] | None = None
    """Most examples in one row. None: one per 64 tokens, at least 8. auto: as many as full rows need, by the lengths of
    the data."""
    pack: bool = True  # Put several examples in one row, which do not see each other. Off: one example per row.
    on_error: OnError = "raise"  # A record that cannot be read: stop with its file and line, or skip and count it.
    truncation: Truncation = "drop"  # An example longer than a row: leave it out, or cut its prompt's front or its end.
    boundary: Boundary = "split"  # A token across the end of the prompt: tokenise the sides apart, stop, or train it.
    max_dropped: Annotated[float, Ge(0), Le(1)] = 0.5  # Largest share of examples that may be dropped as too long.
    max_unknown: Annotated[float, Ge(0), Le(1)] = 0.01  # Largest share of targets that may be the unknown token.
    max_repeats: PositiveInt = 8  # How often one row may stand in a batch, where the data are fewer than a batch.
    cache_dir: str | None = AUTO
    """Folder that keeps tokenised examples between runs. auto: `~/.cache/mtjax/data`, for data that are read from
    files. None keeps nothing, and holds all examples in memory."""
    cache_gb: Annotated[float, Ge(0)] = 200.0
    """Most gigabytes in that folder; what was not used for longest is deleted."""
    curriculum: str | None = None
    """Number of the examples by which the first epoch goes from low to high: length, difficulty (a key of the records),
    success_rate or another that the task carries; -length from high to low. None, and later epochs: random order."""
    workers: PositiveInt | None = None  # Processes that tokenise many records; None: one per core, at most 32.
    selections: InConfigOnly = ()  # Of `mtjax.data.selection`, applied in order to each source of a mixture.

    @property
    def segments(self) -> int:
        """Most examples in one row, as a number; of auto, where the data are not known, that of None."""
        return self.max_segments if isinstance(self.max_segments, int) else max(8, self.sequence_length // 64)


@short_repr
class Batches(NamedTuple):
    """The data of a run as functions of the step."""

    batch_at: Callable[[int], Batch]
    """`step -> Batch` of NumPy arrays: tokens int32, weights float32, segments int32, all [B, T] ([B, 2, T] of pairs),
    and extras `segment_id` int32 [B, S] (number of the example, -1 empty), `segment_polarity` float32 [B, S] (1 right,
    0 wrong, 1 where neither), of a mixture `segment_source` (number of the source, from 0) and what the task adds. Any
    order of steps gives the same batches. With `rows`, B is the slice's length."""
    ids_at: Callable[[int], list[str]]  # `step -> names` of the examples in that batch, row by row
    window_at: Callable[[int, int], Batch]
    """`(step, factor) -> Batch` of `factor` batches, one after the other, none of whose rows another step's window has
    within an epoch: candidates to choose from."""
    repack: Callable[[Int[np.ndarray, " n"]], tuple[Batch, float]]
    """`(example numbers) -> (Batch, share of empty rows)` of the first of those examples that fit in as many rows as a
    batch has."""
    ids: Sequence[str]  # name of each example, by the number that `segment_id` holds
    steps_per_epoch: int  # steps until every row has been seen (of one source; of a mixture, rows over batch size)
    report: Report  # what the data came to
    seen_at: Callable[[int], dict[str, float]]
    """`step -> metrics` of the whole batch: `data/epoch`, passes over the data after the step (over the source that is
    repeated most), and `data/repeats`, how often the most frequent row stands in it."""
    made_of: dict[str, str]  # digests of the examples of each source, and of the rows that they are packed in
    waited: Callable[[], float] = lambda: 0.0  # seconds that calls of `batch_at` and `window_at` took in total
    close: Callable[[], None] = lambda: None  # ends what reads ahead; see `mtjax.data.ahead`


def problems(config: DataConfig) -> Problems:
    """The problems of the source, for evaluation; decode from `config.task.prompt(problem)`."""
    return select(config.source, config.selections).problems(config.on_error)


def unlimited(config: DataConfig) -> DataConfig:
    """The same data without limits on what is dropped, unknown or repeated: to look at, not to train on."""
    return dataclasses.replace(config, max_dropped=1.0, max_unknown=1.0, max_repeats=1 << 30)


def fingerprint_of(config: DataConfig, tokenizer: Tokenizer | None = None) -> str:
    """Of all that the batches depend on but the seed and the batch size; files are read, nothing is tokenised."""
    sources, weights = zip(*selected_sources(config.source, config.selections), strict=True)
    segments = config.segments if config.max_segments != AUTO else AUTO
    return digest(
        [source.fingerprint() for source in sources],
        weights,
        config.on_error,
        (type(config.task).__name__, written(config.task), fit_of(config), segments, config.pack),
        None if tokenizer is None else tokenizer.fingerprint,
        *mixing_of(config.source),
        *([] if config.curriculum is None else [("curriculum", config.curriculum)]),
    )


def make_batches(
    config: DataConfig,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    seed: int,
    rows: slice | Int[np.ndarray, " n"] | None = None,
    repeat: bool = True,
    also: Callable[[Index], Mapping[str, np.ndarray]] | None = None,
) -> Batches:
    """Read, tokenise and pack everything once; then batch n costs a gather.

    Rows are packed once. Each epoch of a source goes through its rows in an order of its own, and epochs follow each
    other without a gap: batch n holds places n * B .. n * B + B - 1 of that stream (`mtjax.data.order`). The
    weights of a mixture are shares of examples.

    `rows` asks for some of each batch's B rows, such as one host's (`mtjax.distributed.placement.own_rows`).
    `repeat=False` is one pass for evaluation: every example once, in a fixed random order, the last batch filled up
    with empty rows, and InputError beyond it.

    `also` gives more numbers per token, by name, such as the log-probs of a reference; they become extras.

    Raises InputError for an empty source, a batch_size or max_segments below 1, a sequence_length below 2, a negative
    seed, and where no example fits or has a target.

    Examples of data from files are read from `cache_dir`, so memory does not grow with them (docs/data_at_scale.md).
    Without a cache all are in memory: 8 bytes a token and about 100 an example.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("data.max_segments", config.segments, 1),
        ("data.sequence_length", config.sequence_length, 2),
        ("seed", seed, 0),
    ):
        if value < least:
            raise InputError(f"{name}={value}: expected a number of at least {least}; raise it")
    sources, _ = zip(*selected_sources(config.source, config.selections), strict=True)
    parts, given = [index_of(source, config, tokenizer) for source in sources], config
    if config.max_segments == AUTO:
        samples = [part.lengths_of(sample_of(len(part.ids))) for part in parts]
        enough = max(enough_segments(sample, config.sequence_length) for sample in samples)
        config = dataclasses.replace(config, max_segments=enough)
    contents = [part.content or content_digest(part) for part in parts]
    names = [f"part {number} of the mixture" for number in range(1, len(parts) + 1)] if len(parts) > 1 else [""]
    described = [f"{len(part.ids):,} examples ({content})" for part, content in zip(parts, contents, strict=True)]
    made_of = dict(zip(names, described, strict=True))
    index = join_indices(parts)
    if len(parts) > 1:  # as the extra `segment_source`
        numbers = np.repeat(np.arange(len(parts), dtype=np.float32), [len(part.ids) * part.sides for part in parts])
        index = index._replace(per_sequence={**index.per_sequence, "source": numbers})
    if also is not None:
        index = index._replace(per_token=index.per_token | dict(also(index)))
    length, segments = config.sequence_length, config.segments if config.pack else 1
    hardness = None if config.curriculum is None else [hardness_of(part, config.curriculum) for part in parts]
    joined, rows_of_each, rows_digest = packed_rows(parts, contents, config, length, segments, seed, hardness)
    made_of["packing"] = f"{joined.number:,} rows ({rows_digest})"
    # A share of examples becomes a share of rows: a row holds more of the short ones.
    mixed = parts_of(config.source, [len(part.ids) for part in parts])
    shares = np.array([part.share for part in mixed])
    shares = shares * np.array([n / len(part.ids) for n, part in zip(rows_of_each, parts, strict=True)])
    limits = [part.most_rows(n) for part, n in zip(mixed, rows_of_each, strict=True)]
    ranked = None if hardness is None else rows_hardness(joined, rows_of_each, hardness)
    order = make_order(rows_of_each, shares, seed, limits, ranked)
    steps_per_epoch = -(-joined.number // batch_size)
    ends = [
        f"source {source + 1} ends at step {place // batch_size}, after {mixed[source].epochs:g} epochs"
        for source, place in order.ends
    ]
    repeats = repeats_of(rows_of_each, shares, batch_size)
    epochs = check_repeats(repeats, rows_of_each, batch_size, config.max_repeats) if repeat else ""
    # Packing puts the longest examples first and a mixture its first source, but the first batches stand for all.
    passed = np.zeros(0, np.int64) if repeat else random_order(joined.number, ONE_PASS)
    wanted = np.arange(batch_size)[rows if rows is not None else slice(None)]

    def assembled(packed: Rows, rows: Int[np.ndarray, " B"]) -> Batch:
        return assemble(index, packed, rows, length, config.segments, tokenizer.pad_id)

    def rows_of(step: int) -> Int[np.ndarray, " B"]:
        places = step * batch_size + wanted
        if repeat and step >= 0:
            return order(places)
        if not 0 <= step < steps_per_epoch:
            raise InputError(f"step {step}: expected 0 to {steps_per_epoch - 1}, the steps of one pass")
        return np.where(places < joined.number, passed[np.minimum(places, joined.number - 1)], -1)

    def window_at(step: int, factor: int) -> Batch:
        firsts = (step * factor + np.arange(factor)) * batch_size
        return assembled(joined, order((firsts[:, None] + wanted).ravel()))

    def repack(examples: Int[np.ndarray, " n"]) -> tuple[Batch, float]:
        found = first_that_fit(index.lengths_of(examples), length, segments, batch_size)
        chosen = Rows(examples[found.members], found.offsets)
        batch = assembled(chosen, np.where(wanted < chosen.number, wanted, -1))
        return batch, 1 - chosen.number / batch_size

    def seen_at(step: int) -> dict[str, float]:
        rows = order(step * batch_size + np.arange(batch_size))
        most = np.unique(rows, return_counts=True)[1].max()
        seen = {"data/epoch": float(repeats.max() * (step + 1)), "data/repeats": float(most)}
        if len(parts) > 1:
            taken = order.taken((step + 1) * batch_size)
            if order.ends:
                seen["data/epoch"] = float((taken / np.array(rows_of_each)).max())
            seen |= {f"data/rows/{number}": float(rows) for number, rows in enumerate(taken, 1)}
            seen |= {f"data/epochs/{n}": x for n, x in enumerate((taken / np.array(rows_of_each)).tolist(), 1)}
        return seen

    return Batches(
        batch_at=lambda step: assembled(joined, rows_of(step)),
        ids_at=lambda step: [index.ids[example] for example in members_of(joined, rows_of(step))[0]],
        window_at=window_at,
        repack=repack,
        ids=index.ids,
        steps_per_epoch=steps_per_epoch,
        report=make_report(index, joined, config, epochs, ends, chosen=given.max_segments == AUTO),
        seen_at=seen_at,
        made_of=made_of,
    )


def members_of(packed: Rows, rows: Int[np.ndarray, " B"]) -> tuple[Int[np.ndarray, " n"], ...]:
    """The examples in these rows, each with the place of its row in `rows` and its column in it. Row -1 is empty."""
    counts = np.where(rows >= 0, packed.offsets[rows + 1] - packed.offsets[rows], 0)
    column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    members = packed.members[np.repeat(packed.offsets[rows], counts) + column]
    return members, np.repeat(np.arange(len(rows)), counts), column


def assemble(index: Index, packed: Rows, rows: Int[np.ndarray, " B"], length: int, segments: int, pad_id: int) -> Batch:
    """The rows as one batch: examples stand from the left without gaps, numbered from 1; the rest is padding.

    Segment k of the rejected side may start elsewhere than segment k of the chosen one.
    """
    member, row, column = members_of(packed, rows)

    def one_side(side: int) -> Batch:
        sequence = member * index.sides + side
        size = index.offsets[sequence + 1] - index.offsets[sequence]
        before = np.cumsum(size) - size  # tokens of this batch that come before each example
        inside = np.arange(size.sum()) - np.repeat(before, size)
        start = before - before[np.arange(len(member)) - column]  # of each example in its row
        by_token = np.repeat(row, size), np.repeat(start, size) + inside
        taken = np.repeat(index.offsets[sequence], size) + inside

        def spread(values: np.ndarray, places: tuple[np.ndarray, np.ndarray], width: int, fill: int = 0) -> np.ndarray:
            out = np.full((len(rows), width), fill, values.dtype)
            out[places] = values
            return out

        extras = {"segment_id": spread(member.astype(np.int32), (row, column), segments, -1)}
        for name, values in index.per_sequence.items():
            fill = 1 if name == "polarity" else 0
            extras[f"segment_{name}"] = spread(values[sequence], (row, column), segments, fill)
        extras |= {name: spread(values[taken], by_token, length) for name, values in index.per_token.items()}
        return Batch(
            tokens=spread(index.tokens[taken], by_token, length, pad_id),
            weights=spread(index.weights[taken], by_token, length),
            segments=spread(np.repeat(column + 1, size).astype(np.int32), by_token, length),
            extras=extras,
        )

    sides = [one_side(side) for side in range(index.sides)]
    return sides[0] if index.sides == 1 else jax.tree.map(lambda *x: np.stack(x, axis=1), *sides)
