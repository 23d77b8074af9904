"""The index: every example of a source as flat arrays, built once and kept in a file beside the data cache."""

import array
import json
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mtjax.data.examples import Example
from mtjax.errors import InputError


class Counts(NamedTuple):
    """What became of a source's records on the way to examples.

    Attributes:
        skipped: records that could not be read.
        unused: problems without anything that the task renders.
        truncated: examples made shorter to fit, and trained.
        dropped: examples left out because they do not fit.
        targetless: examples left out because no token of them counts.
    """

    skipped: int = 0
    unused: int = 0
    truncated: int = 0
    dropped: int = 0
    targetless: int = 0


class Index(NamedTuple):
    """Examples as flat arrays: 8 bytes a token and about 100 an example, all in memory.

    Attributes:
        ids: name of each example.
        tokens: ids of all examples, one after the other.
        weights: their weights.
        offsets: example e holds tokens `offsets[e] .. offsets[e + 1] - 1`; one entry more than there are examples.
        polarity: 1 right, 0 wrong, per example.
        counts: what was left out or shortened.
        notes: what the source had to say, such as the first record it skipped.
    """

    ids: list[str]
    tokens: Int[np.ndarray, " tokens"]
    weights: Float[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " n_and_one"]
    polarity: Float[np.ndarray, " n"]
    counts: Counts
    notes: tuple[str, ...]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Tokens of each example."""
        return np.diff(self.offsets)

    def lengths_of(self, examples: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        """Tokens of these examples."""
        return self.offsets[examples + 1] - self.offsets[examples]


ARRAYS = ("tokens", "weights", "offsets", "polarity")
"""The fields of an index that are arrays."""


def make_index(examples: Iterable[Example], counts: Callable[[], Counts], notes: tuple[str, ...] = ()) -> Index:
    """Gather examples; `counts` is asked when the last of them has been made."""
    ids: list[str] = []
    tokens, weights, lengths, polarity = array.array("i"), array.array("f"), array.array("q", [0]), array.array("f")
    for example in examples:
        ids.append(example.id)
        tokens.frombytes(example.tokens.tobytes())
        weights.frombytes(example.weights.tobytes())
        lengths.append(len(example.tokens))
        polarity.append(example.polarity)
    return Index(
        ids=ids,
        tokens=np.array(tokens, np.int32),
        weights=np.array(weights, np.float32),
        offsets=np.cumsum(np.array(lengths, np.int64)),
        polarity=np.array(polarity, np.float32),
        counts=counts(),
        notes=notes,
    )


def join_indices(parts: Sequence[Index]) -> Index:
    """The examples of all parts, in their order; counts are added."""
    starts = np.cumsum([0, *(len(part.tokens) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    return Index(
        ids=[name for part in parts for name in part.ids],
        tokens=np.concatenate([part.tokens for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        offsets=np.concatenate([*offsets, starts[-1:]]),
        polarity=np.concatenate([part.polarity for part in parts]),
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
        return Index(
            **{name: file[name] for name in ARRAYS},
            ids=text["ids"],
            counts=Counts(**text["counts"]),
            notes=tuple(text["notes"]),
        )


def _write(path: pathlib.Path, index: Index) -> None:
    text = json.dumps({"ids": index.ids, "counts": index.counts._asdict(), "notes": index.notes})
    arrays = {name: getattr(index, name) for name in ARRAYS}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, text=np.frombuffer(text.encode(), np.uint8), **arrays)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
