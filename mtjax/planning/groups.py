"""Who takes part in a collective: the spellings of groups in a compiled program, and which mesh axes they run along."""

import re
from collections.abc import Sequence

import numpy as np

from mtjax.errors import InputError


def read_groups(text: str, devices: int) -> np.ndarray:
    """The groups of a collective as `[groups, members]` numbers of devices in the mesh's order.

    Spellings: `{{0,1},{2,3}}`; `[4,2]<=[8]` and `[4,2]<=[2,4]T(1,0)`; `mesh['a'=4,'b'=2] {'a'}`, with
    `, device_ids=(...)` between, and a part of an axis as `'a':(2)4`. Absent or empty: all devices in one group. Of a
    collective-permute the pairs `source_target_pairs` are the groups.

    >>> read_groups("replica_groups=[2,2]<=[2,2]T(1,0), x", 4).tolist()
    [[0, 2], [1, 3]]
    """
    pairs = re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)+)\}", text)
    listed = pairs or re.search(r"replica_groups=\{((?:\{[\d,]*\},?)+)\}", text)
    if listed:
        rows = [[int(number) for number in row.split(",")] for row in re.findall(r"\{([\d,]+)\}", listed[1])]
        return np.array([row for row in rows if len(row) == max(map(len, rows))])
    tiled = re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text)
    if tiled:
        return _iota(tiled[2]).reshape([int(side) for side in tiled[1].split(",")])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^{]*?)\))? \{([^}]*)\}", text)
    if named:
        sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", named[1])}
        numbers = _iota(named[2]) if named[2] else np.arange(int(np.prod(list(sizes.values()))))
        return _along(numbers, sizes, named[3])
    return np.arange(devices)[None]


def _iota(text: str) -> np.ndarray:
    """Numbers 0, 1, ... as `[2,16]T(1,0)` arranges them: in this shape, then transposed; flat."""
    shape = [int(side) for side in text[1 : text.index("]")].split(",")]
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    turned = re.search(r"T\(([\d,]+)\)", text)
    return (numbers.transpose([int(axis) for axis in turned[1].split(",")]) if turned else numbers).ravel()


def _along(numbers: np.ndarray, sizes: dict[str, int], chosen: str) -> np.ndarray:
    """Groups along the chosen axes; an axis of which only a part is chosen falls into (before, part, after)."""
    wanted = {name: (pre and int(pre), part and int(part)) for name, pre, part in _axes(chosen)}
    shape: list[int] = []
    front: list[int] = []
    back: list[int] = []
    for name, size in sizes.items():
        pre, part = wanted.get(name, (None, None))
        pieces = [size] if not part else [int(pre or 1), int(part), size // (int(pre or 1) * int(part))]
        for place, piece in enumerate(pieces):
            inside = name in wanted and (not part or place == 1)
            (back if inside else front).append(len(shape))
            shape.append(piece)
    members = int(np.prod([shape[axis] for axis in back]))
    return numbers.reshape(shape).transpose(front + back).reshape(-1, members)


def _axes(chosen: str) -> list[tuple[str, str, str]]:
    return re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen)


def axes_of(groups: np.ndarray, shape: Sequence[int], names: Sequence[str]) -> str:
    """The mesh axes that a group's members differ in, such as `data+fsdp`; with `(part)` where a group has not all.

    >>> axes_of(np.array([[0, 1], [2, 3]]), (2, 2), ("data", "fsdp"))
    'fsdp'
    """
    if groups.max() >= np.prod(shape):
        raise InputError(f"a collective names device {groups.max()}, the mesh has {np.prod(shape)}")
    where = np.stack(np.unravel_index(groups, shape), axis=-1)
    differs = [axis for axis in range(len(shape)) if (where[:, :, axis] != where[:, :1, axis]).any()]
    whole = int(np.prod([shape[axis] for axis in differs])) == groups.shape[1]
    return "+".join(names[axis] for axis in differs) + ("" if whole else " (part)") if differs else "none"
