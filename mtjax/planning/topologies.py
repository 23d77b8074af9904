"""The machines that can be planned for: what a name such as `v5p-64` means to the compiler, and nominal figures."""

import dataclasses
import math
import re
from typing import Any, Literal, NamedTuple

from mtjax.errors import InputError, suggest

GIB = 2**30

CUBES = {
    4: (2, 2, 1),
    8: (2, 2, 2),
    16: (2, 2, 4),
    32: (2, 4, 4),
    64: (4, 4, 4),
    128: (4, 4, 8),
    256: (4, 8, 8),
    512: (8, 8, 8),
    1024: (8, 8, 16),
    2048: (8, 16, 16),
}
"""Chips of a slice to the sides of its torus, for the machines with three of them (v4, v5p, 7x)."""

SQUARES = {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16), 256: (16, 16)}
"""The same for those with two (v5e, v6e)."""


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One kind of device. Bandwidths and peaks are vendors' nominal figures: nothing here was measured."""

    platform: Literal["tpu", "cuda"]  # What the compiler calls it.
    memory: float  # Bytes that a program may use on a device: on TPU the limit that the compiler applies itself.
    peak_flops: float  # bf16 FLOP/s of a device, dense.
    memory_bandwidth: float  # Bytes per second between a device and its memory.
    link_bandwidth: float
    """Bytes per second, one way, of one link to a neighbour on the torus (TPU), or into the node's switch (GPU)."""
    far_bandwidth: float
    """Bytes per second, one way, of a device's share of the network between slices (TPU) or nodes (GPU)."""
    source: str  # Where the figures are from.
    compiler_name: str = ""  # TPU: how a topology of it begins.
    counts_as: int = 1  # TPU: what one chip adds to N in the name `v5p-N`.
    devices_per_chip: int = 1  # TPU: what jax sees of one chip.
    sides: int = 3  # TPU: of the torus.
    clock: float | None = None  # TPU: cycles per second, for the compiler's own estimate; public, not measured.
    options: tuple[tuple[str, Any], ...] = ()  # TPU: more for the compiler.
    target: str = ""  # GPU: the compiler's description of the card.


_MEGACORE: tuple[tuple[str, Any], ...] = (("chip_config_name", "megacore"), ("chips_per_host_bounds", (2, 2, 1)))
# What the compiler wants to know of a GPU that is not here: figures that OpenXLA publishes for these cards
# (`xla/backends/gpu/target_config/specs`), shortened to what compiling needs. None was read from a card by us.
_TEXT = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536 shared_memory_per_block: 49152
  shared_memory_per_core: {shared_core} shared_memory_per_block_optin: {shared_block}
  core_count: {cores} fpus_per_core: {fpus} clock_rate_ghz: {clock} l2_cache_size: {cache}
  memory_bandwidth: {bandwidth} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} minor: 0 }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "{name}"
"""

_HOPPER = {"shared_core": 233472, "shared_block": 232448, "cores": 132, "fpus": 128, "clock": 1.98}
_HOPPER |= {"cache": 52428800, "major": 9}

H100 = _TEXT.format(name="NVIDIA H100 80GB HBM3", bandwidth=3352320000000, memory=84942979072, **_HOPPER)
"""H100 SXM, 80 GB."""

H200 = _TEXT.format(name="NVIDIA H200 141GB HBM3e", bandwidth=4800000000000, memory=151397597184, **_HOPPER)
"""H200 SXM, 141 GB."""

A100 = _TEXT.format(
    name="NVIDIA A100-SXM4-80GB",
    bandwidth=2039040000000,
    memory=85100068864,
    shared_core=167936,
    shared_block=166912,
    cores=108,
    fpus=64,
    clock=1.41,
    cache=41943040,
    major=8,
)
"""A100 SXM, 80 GB."""

_TPU = "memory: what the compiler enforces; the rest: public figures of the vendor, nominal"
_CARD = "the compiler project's published description of the card, shortened; not read from a card here"

HARDWARE: dict[str, Hardware] = {
    "v4": Hardware(
        "tpu", 30.75 * GIB, 275e12, 1.2e12, 45e9, 6.25e9, _TPU, "v4", counts_as=2, clock=1.05e9, options=_MEGACORE
    ),
    "v5e": Hardware("tpu", 15.75 * GIB, 197e12, 0.82e12, 45e9, 3.125e9, _TPU, "v5e", sides=2, clock=1.5e9),
    "v5p": Hardware(
        "tpu", 95.74 * GIB, 459e12, 2.765e12, 90e9, 6.25e9, _TPU, "v5p", counts_as=2, clock=1.75e9, options=_MEGACORE
    ),
    "v6e": Hardware("tpu", 31.25 * GIB, 918e12, 1.64e12, 90e9, 12.5e9, _TPU, "v6e", sides=2, clock=1.75e9),
    # Two devices to a chip: each has half of the chip's links. No public clock: no compiler bound.
    "tpu7x": Hardware(
        "tpu", 94.75 * GIB, 1153.5e12, 3.69e12, 50e9, 6.25e9, _TPU, "tpu7x", counts_as=2, devices_per_chip=2
    ),
    "a100": Hardware("cuda", 0.92 * 85100068864, 312e12, 2.039e12, 300e9, 25e9, _CARD, target=A100),
    "h100": Hardware("cuda", 0.92 * 84942979072, 989e12, 3.352e12, 450e9, 50e9, _CARD, target=H100),
    "h200": Hardware("cuda", 0.92 * 151397597184, 989e12, 4.8e12, 450e9, 50e9, _CARD, target=H200),
}
"""The machines by name. Of a GPU's memory 0.92 counts, which a run gets by `XLA_PYTHON_CLIENT_MEM_FRACTION=.92`."""


class Topology(NamedTuple):
    """Devices and how they are wired.

    Attributes:
        name: as the user says it, such as `v5p-64`.
        kind: key of `HARDWARE`.
        shape: sides of one slice's torus in chips (TPU), or nodes and GPUs per node.
        slices: TPU slices, joined by the far network.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    slices: int

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
        if self.hardware.sides == 3:
            return (all(side % 4 == 0 for side in self.shape),) * 3
        return (*(side == 16 for side in self.shape), False)


def find_topology(name: str, slices: int = 1) -> Topology:
    """The topology called `name`.

    `v5p-64` is named as the cloud names it: by TensorCores for v4, v5p and 7x, by chips for v5e and v6e. `v5p:4x4x8`
    gives the sides in chips. `h100-64` is 64 GPUs in nodes of 8; `h100:2x4` is 2 nodes of 4.

    >>> find_topology("v5p-64").shape
    (2, 4, 4)
    >>> find_topology("h100-64").shape
    (8, 8)

    Raises:
        InputError: an unknown machine, a size that it does not come in, slices below 1 or of GPUs.
    """
    found = re.fullmatch(r"([a-z0-9]+?)(?:-(\d+)|[:=](\d+(?:x\d+)*))", name.lower())
    kind = {"7x": "tpu7x", "v7x": "tpu7x", "v5litepod": "v5e"}.get(found[1], found[1]) if found else name
    if found is None or kind not in HARDWARE:
        kinds = suggest(kind.partition("-")[0].partition(":")[0], HARDWARE)
        raise InputError(f"topology {name!r}: expected a machine and a size, such as v5p-64 or h100-8; {kinds}")
    hardware = HARDWARE[kind]
    if slices < 1 or (slices > 1 and hardware.platform == "cuda"):
        raise InputError(f"slices={slices}: expected 1 or more, and 1 on GPUs, whose nodes the topology counts itself")
    shape = tuple(int(side) for side in found[3].split("x")) if found[3] else _sides(name, kind, int(found[2]))
    if len(shape) != (2 if hardware.platform == "cuda" else hardware.sides) or min(shape) < 1:
        raise InputError(f"topology {name!r}: expected {2 if hardware.sides == 2 else 3} sides, e.g. {_example(kind)}")
    return Topology(name, kind, shape, slices)


def _example(kind: str) -> str:
    return {2: f"{kind}:4x8", 3: f"{kind}:2x4x4"}[HARDWARE[kind].sides] if not HARDWARE[kind].target else f"{kind}:2x8"


def _sides(name: str, kind: str, count: int) -> tuple[int, ...]:
    """Sides of the slice that `name` means."""
    hardware = HARDWARE[kind]
    if hardware.platform == "cuda":
        nodes, rest = divmod(count, 8)
        if count < 1 or (nodes and rest):
            raise InputError(f"topology {name!r}: expected 1 to 8 GPUs, or a multiple of 8 in nodes of 8")
        return (nodes, 8) if nodes else (1, count)
    table = CUBES if hardware.sides == 3 else SQUARES
    sizes = {chips * hardware.counts_as: shape for chips, shape in table.items()}
    if count not in sizes:
        known = ", ".join(f"{kind}-{size}" for size in sizes)
        raise InputError(f"topology {name!r}: {kind} comes as {known}; others by their sides, e.g. {_example(kind)}")
    return sizes[count]


def larger_ones(topology: Topology) -> list[Topology]:
    """The next three sizes of the same machine that have names, smallest first."""
    hardware = topology.hardware
    if hardware.platform == "cuda":
        names = [f"{topology.kind}-{max(8, topology.size) * times}" for times in (2, 4, 8)]
    else:
        table = CUBES if hardware.sides == 3 else SQUARES
        names = [
            f"{topology.kind}-{chips * hardware.counts_as}" for chips in table if chips > math.prod(topology.shape)
        ]
    return [find_topology(name, topology.slices) for name in names[:3]]


def describe(topology: Topology) -> list[Any]:
    """The topology's devices as jax sees them; none need be here. For the worker, whose environment is set for it."""
    from jax.experimental import topologies

    hardware = topology.hardware
    if hardware.platform == "cuda":
        nodes, cards = topology.shape
        return topologies.get_topology_desc(
            platform="cuda", topology_name=topology.kind, target_config=hardware.target, topology=f"1x{nodes}x{cards}"
        ).devices
    options: dict[str, Any] = dict(hardware.options)
    if any(topology.wrap):
        options["wrap"] = topology.wrap
    if topology.shape == (1, 1):
        options["chips_per_host_bounds"] = (1, 1, 1)
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    sides = "x".join(map(str, topology.shape))
    return topologies.get_topology_desc(f"{hardware.compiler_name}:{sides}", platform="tpu", **options).devices


def places(topology: Topology, devices: list[Any]) -> list[tuple[int, ...]]:
    """Where each device is: (slice or node, then coordinates on the torus, or the number in the node).

    Two devices of one chip share a place: what passes between them crosses no link.
    """
    if topology.hardware.platform == "tpu":
        return [(getattr(device, "slice_index", 0), *device.coords[: topology.hardware.sides]) for device in devices]
    cards = topology.shape[1]
    return [(device.id // cards, device.id % cards) for device in devices]


class Side(NamedTuple):
    """One side of the torus, or a node's switch.

    Attributes:
        links: of a device along it that a gather can use: 2 where the side closes to a ring, else 1, since the device
            at the end of a line has one.
        neighbours: links of an inner device: what a shift to a neighbour can use, in both directions together.
    """

    links: int
    neighbours: int


def sides(topology: Topology) -> tuple[Side, ...]:
    """The links of a device, side by side; a GPU has one side, its switch."""
    if topology.hardware.platform == "cuda":
        return (Side(1, 1),)
    rings = zip(topology.wrap, topology.shape, strict=False)
    return tuple(Side(2 if ring and side > 2 else 1, 2 if side > 2 else 1) for ring, side in rings)
