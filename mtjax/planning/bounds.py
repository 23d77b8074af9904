"""How fast a step can be at best: a bound from nominal figures, and the compiler's own. Neither is a prediction."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mtjax.planning.collectives import Collective, sent
from mtjax.planning.hlo import Program
from mtjax.planning.topologies import Hardware, Side


class Bound(NamedTuple):
    """A lower bound on the time of a step.

    Attributes:
        terms: seconds that each resource is busy at least, by name; they may overlap, so the bound is the largest.
        seconds: the bound.
        limited_by: the name of that term.
        mfu: the most model FLOPs utilisation that leaves.
    """

    terms: dict[str, float]
    seconds: float
    limited_by: str
    mfu: float


def roofline(
    *,
    flops: float,
    useful_flops: float,
    touched: float,
    collectives: Sequence[Collective],
    places: Sequence[Sequence[int]],
    sides: Sequence[Side],
    hardware: Hardware,
) -> Bound:
    """The largest of: products at peak, arguments and results once through memory, and each link's least traffic.

    A collective's traffic is spread evenly over the sides of the torus that its group spans, over all links of a device
    along them. Between slices or nodes, a group's members on one of them share what must cross.

    Args:
        flops, useful_flops: of all devices.
        touched: bytes of arguments and results on one device.
        places: where each device is, in the mesh's order: (slice or node, coordinates...).
        sides: the links of a device, side by side.
    """
    terms = {"matrix products": flops / len(places) / hardware.peak_flops}
    terms["memory"] = touched / hardware.memory_bandwidth
    for one in collectives:
        for name, seconds in _busy(one, places, sides, hardware).items():
            terms[name] = terms.get(name, 0.0) + seconds
    limited_by = max(terms, key=lambda name: terms[name])
    seconds = terms[limited_by]
    return Bound(terms, seconds, limited_by, useful_flops / len(places) / hardware.peak_flops / seconds)


def _busy(
    one: Collective, places: Sequence[Sequence[int]], sides: Sequence[Side], hardware: Hardware
) -> dict[str, float]:
    """Seconds that a collective needs of each side's links, and of the far network."""
    total = float(one.bytes * one.times)
    far_name = "network between slices" if hardware.platform == "tpu" else "network between nodes"
    if one.axes == "slices":  # what the compiler hands to the far network is a device's own share
        return {far_name: sent(one.operation, total, one.members) / hardware.far_bandwidth}
    group = [places[device] for device in one.group]
    fars = len({place[0] for place in group})
    near = len(group) // fars
    out = {}
    if fars > 1:
        out[far_name] = sent(one.operation, total, fars) / near / hardware.far_bandwidth
    along = [side for side in range(len(sides)) if len({place[1 + side] for place in group}) > 1]
    if near > 1 and along:
        shift = one.operation == "collective-permute"
        width = sum(sides[side].neighbours if shift else sides[side].links for side in along) * hardware.link_bandwidth
        for side in along:
            name = f"links along side {side + 1}" if hardware.platform == "tpu" else "links in the node"
            out[name] = sent(one.operation, total, near) / width
    return out


def compiler_seconds(program: Program, clock: float | None) -> float | None:
    """The compiler's own count of cycles, added up one after the other, over the clock; None without a clock.

    Collectives and kernels carry no count, so they are free here.
    """
    if clock is None:
        return None
    inside = {name for _, one in program.running() if one.operation == "fusion" for name in one.calls.values()}
    cycles = 0
    for computation, one in program.running():
        found = re.search(r'"estimated_cycles":"(\d+)"', one.rest)
        if found and computation not in inside:
            cycles += program.runs[computation] * int(found[1])
    return cycles / clock
