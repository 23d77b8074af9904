"""The examples and rows of a run, in memory or from the cache of its settings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtjax.data.arrays import Index
from mtjax.data.cache import AUTO, CacheError, DataCache
from mtjax.data.index import Fit, build_index
from mtjax.data.packing import Rows, join_rows, pack
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.memory import InMemory
from mtjax.data.stored import Writer
from mtjax.data.tokenizer import Tokenizer
from mtjax.data.workers import default_workers
from mtjax.io.hashing import digest

PLANNED = 50_000  # From so many examples on, the rows are kept in the cache: fewer are packed in a moment.
PLAN_FORMAT = 1  # Raised when the same examples give other rows than before.


def fit_of(config: Any) -> Fit:
    """What the settings do with text that does not fit."""
    return Fit(config.sequence_length, config.truncation, config.boundary)


def index_of(source: Any, config: Any, tokenizer: Tokenizer) -> Index:
    """The examples of one source, in memory or from the cache."""
    read = (config.on_error, config.task, tokenizer, fit_of(config))
    cache, workers = cache_of(config, source), config.workers or default_workers()
    try:
        return build_index(source, *read, cache, workers)
    except CacheError as error:
        if config.cache_dir != AUTO:
            raise
        print(f"note: {error}; the examples are held in memory", flush=True)
        return build_index(source, *read, None, workers)


def cache_of(config: Any, source: Any) -> DataCache | None:
    """The cache for a source; None for data that a program holds or generates, unless a folder is named for them."""
    inner = getattr(source, "source", source)  # with selections
    if config.cache_dir is None or (config.cache_dir == AUTO and isinstance(inner, InMemory | Arithmetic)):
        return None
    return DataCache(config.cache_dir, config.cache_gb * 1e9)


def packed_rows(
    parts: Sequence[Index],
    contents: Sequence[str],
    config: Any,
    length: int,
    segments: int,
    seed: int,
    hardness: Sequence[np.ndarray] | None = None,
) -> tuple[Rows, list[int], str]:
    """The rows of all parts, the number of rows of each, and a digest; of many examples, kept in the cache.

    `hardness` is a number of each example of each part, by which they come; it is that of `config.curriculum`.
    """

    def make() -> tuple[Rows, list[int], str]:
        first = np.cumsum([0, *(len(part.ids) for part in parts)])
        packed = [
            pack(
                part.lengths,
                row_length=length,
                max_segments=segments,
                key=(seed, number),
                first=int(first[number]),
                hardness=None if hardness is None else hardness[number],
            )
            for number, part in enumerate(parts)
        ]
        joined = join_rows(packed)
        return joined, [part.number for part in packed], digest(joined.members.tobytes(), joined.offsets.tobytes())[:16]

    def write(writer: Writer) -> dict[str, Any]:
        rows, numbers, made = make()
        writer.add("members", rows.members)
        writer.add("offsets", rows.offsets)
        return {"numbers": numbers, "digest": made}

    mapped = [part for part in parts if not isinstance(part.tokens, np.ndarray)]
    if config.cache_dir is None or not mapped or sum(len(part.ids) for part in parts) < PLANNED:
        return make()
    key = ("rows", PLAN_FORMAT, list(contents), [len(part.ids) for part in parts], length, segments, seed)
    key += () if hardness is None else (config.curriculum,)
    try:
        columns, about = DataCache(config.cache_dir, config.cache_gb * 1e9).get(key, write)
    except CacheError:
        return make()
    return Rows(columns["members"], columns["offsets"]), about["numbers"], about["digest"]
