"""The machines that can be planned for: what a name such as `v5p-64` means to the compiler, and nominal figures."""

import dataclasses
import importlib.resources
import math
import re
import tomllib
from typing import Any, Literal, NamedTuple

from mtjax.errors import InputError, suggest


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One kind of device, a table of `topologies.toml`. Bandwidths and peaks are vendors' nominal figures."""

    platform: Literal["tpu", "cuda"]  # what the compiler calls it
    memory: float  # bytes that a program may use on a device
    peak_flops: float  # bf16 FLOP/s of a device, dense
    memory_bandwidth: float  # bytes per second between a device and its memory
    link_bandwidth: (
        float  # bytes per second, one way, of a link to a torus neighbour (TPU) or to the node's switch (GPU)
    )
    far_bandwidth: float  # bytes per second, one way, of a device's share of the network between slices or nodes
    source: str  # where the figures are from
    sides: int = 2  # TPU: of the torus
    counts_as: int = 1  # TPU: what one chip adds to N in the name `v5p-N`
    devices_per_chip: int = 1  # TPU: what jax sees of one chip
    clock: float | None = None  # TPU: cycles per second, for the compiler's own estimate; public, not measured
    megacore: bool = False  # TPU: whether the two cores of a chip are one device
    target: str = ""  # GPU: the compiler's description of the card


_FILE = importlib.resources.files("mtjax.planning") / "topologies.toml"
HARDWARE = {kind: Hardware(**figures) for kind, figures in tomllib.loads(_FILE.read_text()).items()}
"""The machines by name."""

SLICES = {
    2: "1x1 2x2 2x4 4x4 4x8 8x8 8x16 16x16",
    3: "2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16",
}
"""TPU slices that have a name of their own: sides of the torus in chips, by the number of sides."""


class Topology(NamedTuple):
    """Devices and how they are wired."""

    name: str  # as the user writes it, such as `v5p-64`
    kind: str  # key of `HARDWARE`
    shape: tuple[int, ...]  # sides of one slice's torus in chips (TPU), or nodes and GPUs per node
    slices: int  # TPU slices, joined by the network between them

    @property
    def hardware(self) -> Hardware:
        """What one device is."""
        return HARDWARE[self.kind]

    @property
    def size(self) -> int:
        """Devices in all."""
        return math.prod(self.shape) * self.slices * self.hardware.devices_per_chip

    @property
    def wrap(self) -> tuple[bool, ...]:
        """TPU: which sides of the torus close to a ring: multiples of 4 in three dimensions, 16 in two."""
        if len(self.shape) == 3:
            return (all(side % 4 == 0 for side in self.shape),) * 3
        return (*(side == 16 for side in self.shape), False)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("x")))


def named_slices(kind: str) -> dict[int, tuple[int, ...]]:
    """Sides of the slice called `kind-N`, by N, smallest first: 64 -> (2, 4, 4) for v5p."""
    hardware = HARDWARE[kind]
    return {math.prod(sides) * hardware.counts_as: sides for sides in map(_numbers, SLICES[hardware.sides].split())}


def find_topology(name: str, slices: int = 1) -> Topology:
    """The topology called `name`; InputError for an unknown machine or size, and for slices below 1 or of GPUs.

    `v5p-64` is named as the cloud names it: by TensorCores for v4, v5p and 7x, by chips for v5e and v6e. `v5p:4x4x8`
    gives the sides in chips. `h100-64` is 64 GPUs in nodes of 8; `h100:2x4` is 2 nodes of 4.

    >>> find_topology("v5p-64").shape, find_topology("h100-64").shape
    ((2, 4, 4), (8, 8))
    """
    found = re.fullmatch(r"([a-z0-9]+?)(?:-(\d+)|[:=](\d+(?:x\d+)*))", name.lower())
    kind = {"7x": "tpu7x", "v7x": "tpu7x", "v5litepod": "v5e"}.get(found[1], found[1]) if found else name
    if found is None or kind not in HARDWARE:
        kinds = suggest(kind.partition("-")[0].partition(":")[0], HARDWARE)
        raise InputError(f"topology {name!r}: expected a machine and a size, such as v5p-64 or h100-8; {kinds}")
    hardware = HARDWARE[kind]
    if slices < 1 or (slices > 1 and hardware.platform == "cuda"):
        raise InputError(f"slices={slices}: expected 1 or more, and 1 on GPUs, whose nodes the topology counts itself")
    example = f"{kind}:{'2x8' if hardware.target else '4x8' if hardware.sides == 2 else '2x4x4'}"
    if found[3]:
        shape = _numbers(found[3])
        if len(shape) != hardware.sides or min(shape) < 1:
            raise InputError(f"topology {name!r}: expected {hardware.sides} sides, e.g. {example}")
    elif hardware.platform == "cuda":
        count = int(found[2])
        if count < 1 or (count > 8 and count % 8):
            raise InputError(f"topology {name!r}: expected 1 to 8 GPUs, or a multiple of 8 in nodes of 8")
        shape = (max(count // 8, 1), min(count, 8))
    else:
        sizes = named_slices(kind)
        if int(found[2]) not in sizes:
            known = ", ".join(f"{kind}-{size}" for size in sizes)
            raise InputError(f"topology {name!r}: {kind} comes as {known}; others by their sides, e.g. {example}")
        shape = sizes[int(found[2])]
    return Topology(name, kind, shape, slices)


def larger_ones(topology: Topology) -> list[Topology]:
    """The next three sizes of the same machine that have names, smallest first."""
    if topology.hardware.platform == "cuda":
        sizes = [max(8, topology.size) * times for times in (2, 4, 8)]
    else:
        chips = math.prod(topology.shape)
        sizes = [size for size, shape in named_slices(topology.kind).items() if math.prod(shape) > chips]
    return [find_topology(f"{topology.kind}-{size}", topology.slices) for size in sizes[:3]]


def describe(topology: Topology) -> list[Any]:
    """The topology's devices as jax sees them; none need be here. For the worker, whose environment is set for it."""
    from jax.experimental import topologies

    hardware, kind, sides = topology.hardware, topology.kind, "x".join(map(str, topology.shape))
    options: dict[str, Any] = {}
    if hardware.platform == "cuda":
        options = {"target_config": hardware.target, "topology": f"1x{sides}"}
        return topologies.get_topology_desc(kind, platform="cuda", **options).devices
    if hardware.megacore:
        options |= {"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1)}
    if any(topology.wrap):
        options["wrap"] = topology.wrap
    if topology.shape == (1, 1):
        options["chips_per_host_bounds"] = (1, 1, 1)
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    return topologies.get_topology_desc(f"{kind}:{sides}", platform="tpu", **options).devices


def places(topology: Topology, devices: list[Any]) -> list[tuple[int, ...]]:
    """Where each device is: (slice or node, then coordinates on the torus, or the number in the node).

    Two devices of one chip share a place, because what passes between them crosses no link.
    """
    if topology.hardware.platform == "tpu":
        return [(getattr(device, "slice_index", 0), *device.coords[: len(topology.shape)]) for device in devices]
    return [divmod(device.id, topology.shape[1]) for device in devices]


class Side(NamedTuple):
    """Links of a device along one side of the torus, or into a node's switch."""

    links: int  # that a gather can use: 2 where the side closes to a ring, else 1, since the end of a line has one
    neighbours: int  # of an inner device, that a shift to a neighbour can use, in both directions together


def sides(topology: Topology) -> tuple[Side, ...]:
    """The links of a device along each side; a GPU has one side, its switch."""
    if topology.hardware.platform == "cuda":
        return (Side(1, 1),)
    rings = zip(topology.wrap, topology.shape, strict=False)
    return tuple(Side(2 if ring and side > 2 else 1, 2 if side > 2 else 1) for ring, side in rings)
