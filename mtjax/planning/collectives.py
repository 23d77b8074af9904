"""The collectives of a compiled program: what, along which mesh axis, how often, how many bytes, over which links."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mtjax.errors import InputError
from mtjax.planning.hlo import Instruction, Program, array_bytes

OPERATIONS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
SHIFTED = ("collective-permute",)  # its start carries two numbers of its own beside operand and result
MEGASCALE = "_xla_megascale_transfer_type"


class Collective(NamedTuple):
    """One collective instruction.

    Attributes:
        operation: one of `OPERATIONS`; a reduce-scatter that TPUs fuse into one is called so.
        axes: mesh axes of its groups, such as "fsdp" or "data+fsdp".
        members: devices of a group.
        bytes: of the whole array on a device: what is gathered, or what goes into a reduction.
        times: runs in one call of the program.
        across: its groups span slices (TPU) or nodes (GPU).
        group: devices of the first group, as numbers in the mesh's order.
        op_name: where it comes from in the JAX program.
        loops: `op_name`s of the loops around it.
        shape: text of its result's type.
        notes: "gather as reduction", "reduction then slice"; see `lint`.
    """

    operation: str
    axes: str
    members: int
    bytes: int
    times: int
    across: bool
    group: tuple[int, ...]
    op_name: str
    loops: tuple[str, ...]
    shape: str
    notes: tuple[str, ...]


class Row(NamedTuple):
    """Collectives of one operation along one axis, added up; `number` and `bytes` per device and call."""

    operation: str
    axes: str
    members: int
    across: bool
    number: int
    bytes: int


def find_collectives(
    program: Program, shape: Sequence[int], names: Sequence[str], places: Sequence[Sequence[int]]
) -> list[Collective]:
    """Every collective of the program, each channel once: TPUs repeat an overlapped one in several fusions.

    Args:
        shape, names: of the mesh.
        places: where each device is, in the mesh's order; its first number is the slice or node.
    """
    found: dict[str, Collective] = {}
    readers = Readers(program)
    producers = {one.name: one for _, one in program.running()}
    far = np.array([place[0] for place in places])
    for computation, instruction in program.running():
        operation = instruction.operation.removesuffix("-start")
        crossing = instruction.operation == "send" and MEGASCALE in instruction.rest
        if operation not in OPERATIONS and not crossing:
            continue
        notes: tuple[str, ...] = ()
        if crossing:
            transfer = re.search(MEGASCALE + r'="?(\w+)', instruction.rest)
            operation = transfer[1].lower().replace("_", "-") if transfer else "send"
            groups = np.arange(len(places))[None]
            axes = "slices"
        else:
            groups = read_groups(instruction.rest, math.prod(shape))
            if groups.shape[1] < 2:
                continue
            axes = axes_of(groups, shape, names)
            if operation == "collective-permute":
                axes = axes.removesuffix(" (part)")
            notes = _notes(instruction, computation, readers, producers)
        if operation == "all-reduce" and not crossing and "all-reduce-scatter" in computation:
            operation = "reduce-scatter"
        channel = re.search(r"channel_id=(\d+)", instruction.rest)
        # A channel may be shared by unlike instructions, so what they make is part of the key.
        key = f"{channel[1]}/{operation}/{instruction.type}" if channel else f"{computation}/{instruction.name}"
        collective = Collective(
            operation,
            axes,
            len(set(far.tolist())) if crossing else groups.shape[1],
            _size(operation, instruction, groups.shape[1]),
            program.runs[computation],
            crossing or bool((far[groups] != far[groups[:, :1]]).any()),
            tuple(groups[0].tolist()),
            instruction.op_name,
            program.loops[computation],
            instruction.type,
            notes,
        )
        if key not in found or found[key].times < collective.times:
            found[key] = collective
    return list(found.values())


def _size(operation: str, instruction: Instruction, members: int) -> int:
    """Bytes of the whole array.

    An asynchronous start has the shapes of operands and results; the whole is the larger half of them. A fused
    reduce-scatter of a TPU shows what goes in, a plain one what comes out.
    """
    sizes = array_bytes(re.sub(r"\b[su]32\[\]", "", instruction.type) if operation in SHIFTED else instruction.type)
    if instruction.operation == "send":
        return max(sizes)
    started = instruction.operation.endswith("-start") and instruction.operation != "all-reduce-start"
    if started:
        half = len(sizes) // 2
        return max(sum(sizes[:half]), sum(sizes[half : 2 * half]))
    return sum(sizes) * (members if instruction.operation == "reduce-scatter" else 1)


class Readers:
    """Who reads a result, also behind the wrappings and inside the fusions of a compiled program."""

    THROUGH = (
        "get-tuple-element",
        "bitcast",
        "copy",
        "copy-done",
        "all-reduce-done",
        "transpose",
        "convert",
        "reshape",
    )

    def __init__(self, program: Program):
        self.program = program
        self.users: dict[tuple[str, str], list[Instruction]] = {}
        for computation, instructions in program.computations.items():
            for instruction in instructions:
                for operand in set(instruction.operands):
                    self.users.setdefault((computation, operand), []).append(instruction)

    def ends(self, computation: str, name: str) -> list[str]:
        """Operations that read the result in the end."""
        out: list[str] = []
        for reader in self.users.get((computation, name), []):
            if reader.operation in self.THROUGH:
                out += self.ends(computation, reader.name)
            elif reader.operation == "fusion" and reader.calls.get("calls") in self.program.computations:
                inner, place = reader.calls["calls"], str(reader.operands.index(name))
                parameters = [
                    one.name
                    for one in self.program.computations[inner]
                    if one.operation == "parameter" and one.arguments == place
                ]
                out += [end for parameter in parameters for end in self.ends(inner, parameter)]
            else:
                out.append(reader.operation)
        return out


def _notes(
    instruction: Instruction, computation: str, readers: Readers, producers: dict[str, Instruction]
) -> tuple[str, ...]:
    """A gather that writes a part into zeros and adds; a reduction of all of which only a slice is read."""
    if instruction.operation not in ("all-reduce", "all-reduce-start") or "all-reduce-scatter" in computation:
        return ()
    made = [producers[name] for name in instruction.operands if name in producers]
    padded = any("dynamic-update-slice" in (one.operation + one.name) for one in made)
    ends = readers.ends(computation, instruction.name)
    sliced = "dynamic-slice" in ends and set(ends) <= {"dynamic-slice", "tuple"}
    return (("gather as reduction",) if padded else ()) + (("reduction then slice",) if sliced else ())


def table(collectives: Sequence[Collective]) -> list[Row]:
    """The collectives by operation and axis, most bytes first."""
    rows: dict[tuple[str, str, int, bool], Row] = {}
    for one in collectives:
        key = (one.operation, one.axes, one.members, one.across)
        row = rows.get(key, Row(*key, 0, 0))
        rows[key] = row._replace(number=row.number + one.times, bytes=row.bytes + one.times * one.bytes)
    return sorted(rows.values(), key=lambda row: (-row.bytes, row.operation, row.axes))


def sent(operation: str, bytes: float, members: int) -> float:
    """Least bytes that a device sends for a collective over `members`, for an array of `bytes` in the whole.

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
