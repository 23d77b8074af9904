"""Curricula: examples in the order of a number that is recorded for each, such as from easy to hard."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mtjax.data.arrays import Index
from mtjax.data.packing import Rows
from mtjax.errors import InputError, suggest

LENGTH = "length"  # Tokens of an example, its longest side.


def hardness_of(index: Index, name: str) -> Float[np.ndarray, " n"]:
    """The number by which the examples of a source are ordered, ascending.

    `name` is "length" or a number of the sequences, such as "difficulty"; with "-" in front the order is the other way
    round. Of a pair it is that of the chosen side. InputError for a number that the examples do not have.
    """
    wanted, sign = name.removeprefix("-"), -1.0 if name.startswith("-") else 1.0
    if wanted == LENGTH:
        return sign * index.lengths.max(axis=1).astype(np.float64)
    known = [key for key in index.per_sequence if key not in ("polarity", "kind")]
    if wanted not in known:
        way_out = {
            "difficulty": "; give the records a key 'difficulty' with a number, or name theirs: "
            "--data.source.columns ... THEIRS=difficulty",
            "success_rate": "; set data.task.success_rate=True",
        }.get(wanted, "")
        raise InputError(
            f"data.curriculum={name!r}: no example has this number: {suggest(wanted, [LENGTH, *known])}{way_out}"
        )
    values = np.asarray(index.per_sequence[wanted])[:: index.sides]
    return sign * values.astype(np.float64)


def rows_hardness(
    packed: Rows, rows_of_each: Sequence[int], hardness: Sequence[Float[np.ndarray, " n"]]
) -> list[Float[np.ndarray, " rows"]]:
    """The mean over the examples of each row, of each source."""
    offsets = np.asarray(packed.offsets)
    sums = np.add.reduceat(np.concatenate(hardness)[np.asarray(packed.members)], offsets[:-1])
    return np.split(sums / np.diff(offsets), np.cumsum(rows_of_each)[:-1])
