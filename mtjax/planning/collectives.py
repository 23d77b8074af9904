"""The collectives of a compiled program: what, along which mesh axis, how often, how many bytes, over which links."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mtjax.errors import InputError
from mtjax.planning.hlo import Instruction, Program, array_bytes

OPERATIONS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
THROUGH = {"get-tuple-element", "bitcast", "copy", "copy-done", "all-reduce-done", "transpose", "convert", "reshape"}
"""Operations that pass a result on, without reading a part of it or computing with it."""


class Collective(NamedTuple):
    """One collective instruction."""

    operation: str  # one of `OPERATIONS`; a reduce-scatter that TPUs fuse into one operation is called so
    axes: str  # mesh axes of its groups, such as "fsdp" or "data+fsdp"
    members: int  # devices of a group
    bytes: int  # of the complete array on a device: what is gathered, or what goes into a reduction
    times: int  # runs in one call of the program
    across: bool  # whether its groups span slices (TPU) or nodes (GPU)
    group: tuple[int, ...]  # devices of the first group, as numbers in the mesh's order
    op_name: str  # where it comes from in the JAX program
    loops: tuple[str, ...]  # `op_name`s of the loops around it
    shape: str  # text of its result's type
    notes: tuple[str, ...]  # "gather as reduction", "reduction then slice"; see `lint`


@dataclasses.dataclass(frozen=True)
class Row:
    """The sum of the collectives of one operation along one axis."""

    operation: str
    axes: str
    members: int
    across: bool
    number: int  # how many run, per device and call
    bytes: int  # per device and call


def find_collectives(
    program: Program, shape: Sequence[int], names: Sequence[str], places: Sequence[Sequence[int]]
) -> list[Collective]:
    """Every collective of the program, each channel once: TPUs repeat an overlapped one in several fusions.

    `shape` and `names` are those of the mesh; `places` says where each device is, in the mesh's order, with its slice
    or node first.
    """
    found: dict[str, Collective] = {}
    producers = {one.name: one for _, one in program.running()}
    users: dict[tuple[str, str], list[Instruction]] = {}
    for computation, instructions in program.computations.items():
        for one in instructions:
            for operand in set(one.operands):
                users.setdefault((computation, operand), []).append(one)
    far = np.array([place[0] for place in places])
    for computation, one in program.running():
        operation = one.operation.removesuffix("-start")
        notes: tuple[str, ...] = ()
        if operation == "send" and (transfer := re.search(r'_xla_megascale_transfer_type="?(\w+)', one.rest)):
            operation = transfer[1].lower().replace("_", "-")
            groups, axes, members, across = np.arange(len(places))[None], "slices", len(np.unique(far)), True
        elif operation in OPERATIONS:
            groups = read_groups(one.rest, math.prod(shape))
            if groups.shape[1] < 2:
                continue
            axes, members = axes_of(groups, shape, names), groups.shape[1]
            across = bool((far[groups] != far[groups[:, :1]]).any())
            if operation == "collective-permute":
                axes = axes.removesuffix(" (part)")
            if operation == "all-reduce" and "all-reduce-scatter" in computation:
                operation = "reduce-scatter"
            elif operation == "all-reduce":
                made = [producers[name] for name in one.operands if name in producers]
                notes = _notes(made, set(_readers(program, users, computation, one.name)))
        else:
            continue
        size, times = _size(operation, one, members), program.runs[computation]
        channel = re.search(r"channel_id=(\d+)", one.rest)
        # A channel may be shared by different instructions, so their types are part of the key.
        key = f"{channel[1]}/{operation}/{one.type}" if channel else f"{computation}/{one.name}"
        if key not in found or found[key].times < times:
            place = (one.op_name, program.loops[computation], one.type, notes)
            found[key] = Collective(operation, axes, members, size, times, across, tuple(groups[0].tolist()), *place)
    return list(found.values())


def _size(operation: str, one: Instruction, members: int) -> int:
    """Bytes of the complete array.

    An asynchronous start has the shapes of operands and results, of which the larger half counts. A reduce-scatter that
    a TPU fuses shows its input, a plain one its output.
    """
    arrays = one.type
    if operation == "collective-permute":  # its start has two numbers of its own besides operand and result
        arrays = re.sub(r"\b[su]32\[\]", "", arrays)
    sizes = array_bytes(arrays)
    if one.operation == "send":
        return max(sizes)
    if one.operation.endswith("-start") and one.operation != "all-reduce-start":
        half = len(sizes) // 2
        return max(sum(sizes[:half]), sum(sizes[half : 2 * half]))
    return sum(sizes) * (members if one.operation == "reduce-scatter" else 1)


def _readers(
    program: Program, users: Mapping[tuple[str, str], list[Instruction]], computation: str, name: str
) -> Iterator[str]:
    """Operations that finally read a result, also behind `THROUGH` and inside fusions."""
    for reader in users.get((computation, name), []):
        inner = reader.calls.get("calls", "") if reader.operation == "fusion" else ""
        if reader.operation in THROUGH:
            yield from _readers(program, users, computation, reader.name)
        elif inner in program.computations:
            place = str(reader.operands.index(name))
            for one in program.computations[inner]:
                if one.operation == "parameter" and one.arguments == place:
                    yield from _readers(program, users, inner, one.name)
        else:
            yield reader.operation


def _notes(made: Sequence[Instruction], readers: set[str]) -> tuple[str, ...]:
    """What is wasteful about an all-reduce: it adds a part to zeros, or only a slice of its result is read."""
    padded = any("dynamic-update-slice" in (one.operation + one.name) for one in made)
    sliced = "dynamic-slice" in readers and readers <= {"dynamic-slice", "tuple"}
    return ("gather as reduction",) * padded + ("reduction then slice",) * sliced


def table(collectives: Sequence[Collective]) -> list[Row]:
    """The collectives by operation and axis, most bytes first."""
    sums: dict[tuple[str, str, int, bool], np.ndarray] = {}
    for one in collectives:
        key = (one.operation, one.axes, one.members, one.across)
        sums[key] = sums.get(key, 0) + np.array([one.times, one.times * one.bytes])
    rows = [Row(*key, *total.tolist()) for key, total in sums.items()]
    return sorted(rows, key=lambda row: (-row.bytes, row.operation, row.axes))


def sent(operation: str, bytes: float, members: int) -> float:
    """Least bytes that a device sends for a collective over `members`, for a complete array of `bytes`.

    `(n - 1) / n` of it for a gather, a scatter and an exchange, twice that for an all-reduce, all of it for a permute.

    >>> sent("all-reduce", 8.0, 4)
    12.0
    """
    if operation == "collective-permute":
        return bytes
    return bytes * (members - 1) / members * (2 if operation == "all-reduce" else 1)


def read_groups(text: str, devices: int) -> np.ndarray:
    """The groups of a collective as `[groups, members]` numbers of devices in the mesh's order.

    Spellings: `{{0,1},{2,3}}`; `[4,2]<=[8]` and `[4,2]<=[2,4]T(1,0)`; `mesh['a'=4,'b'=2] {'a'}`, with
    `, device_ids=(...)` between, and a part of an axis as `'a':(2)4`. Absent or empty: all devices in one group. For a
    collective-permute the pairs `source_target_pairs` are the groups.

    >>> read_groups("replica_groups=[2,2]<=[2,2]T(1,0), x", 4).tolist()
    [[0, 2], [1, 3]]
    """
    pairs = re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)+)\}", text)
    if listed := pairs or re.search(r"replica_groups=\{((?:\{[\d,]*\},?)+)\}", text):
        rows = [[int(number) for number in row.split(",")] for row in re.findall(r"\{([\d,]+)\}", listed[1])]
        return np.array([row for row in rows if len(row) == max(map(len, rows))])
    if tiled := re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text):
        return _iota(tiled[2]).reshape([int(side) for side in tiled[1].split(",")])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^{]*?)\))? \{([^}]*)\}", text)
    if named is None:
        return np.arange(devices)[None]
    # Each axis falls into what is before the chosen part, the part, and what is after it.
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", named[1])}
    shape = {name: (size, 1, 1) for name, size in sizes.items()}
    for name, before, part in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", named[3]):
        first, inside = (int(before), int(part)) if part else (1, sizes[name])
        shape[name] = (first, inside, sizes[name] // (first * inside))
    order = sorted(range(3 * len(shape)), key=lambda axis: axis % 3 == 1)
    numbers = _iota(named[2]) if named[2] else np.arange(math.prod(sizes.values()))
    members = math.prod(part for _, part, _ in shape.values())
    return numbers.reshape([side for sides in shape.values() for side in sides]).transpose(order).reshape(-1, members)


def _iota(text: str) -> np.ndarray:
    """Numbers 0, 1, ... as `[2,16]T(1,0)` arranges them: in this shape, then transposed; flat."""
    shape, _, axes = ([int(number) for number in re.findall(r"\d+", part)] for part in text.partition("T"))
    return np.arange(math.prod(shape)).reshape(shape).transpose(axes or None).ravel()


def axes_of(groups: np.ndarray, shape: Sequence[int], names: Sequence[str]) -> str:
    """The mesh axes that a group's members differ in, such as `data+fsdp`; with `(part)` where a group has not all.

    >>> axes_of(np.array([[0, 1], [2, 3]]), (2, 2), ("data", "fsdp"))
    'fsdp'
    """
    if groups.max() >= math.prod(shape):
        raise InputError(f"a collective names device {groups.max()}, but the mesh has {math.prod(shape)} devices")
    where = np.stack(np.unravel_index(groups, shape), axis=-1)
    differs = np.flatnonzero((where != where[:, :1]).any((0, 1))).tolist()
    whole = math.prod(shape[axis] for axis in differs) == groups.shape[1]
    return "+".join(names[axis] for axis in differs) + ("" if whole else " (part)") if differs else "none"
