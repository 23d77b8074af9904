"""How fast a step can be at best: a bound from nominal figures, and the compiler's own. Neither is a prediction."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence

from mtjax.planning.collectives import Collective, sent
from mtjax.planning.hlo import Program
from mtjax.planning.topologies import Hardware, Side


@dataclasses.dataclass(frozen=True)
class Bound:
    """A lower bound on the time of a step."""

    terms: dict[str, float]  # least seconds that each resource is busy; they may overlap, so the bound is the largest
    seconds: float  # the bound
    limited_by: str  # the name of that term
    mfu: float  # the largest model FLOPs utilisation that this allows


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

    FLOPs are those of all devices, `touched` the bytes of arguments and results on one. `places` says where each device
    is, in the mesh's order (slice or node, coordinates...), `sides` which links a device has.
    """
    terms = defaultdict(float, {"matrix products": flops / len(places) / hardware.peak_flops})
    terms["memory"] = touched / hardware.memory_bandwidth
    for one in collectives:
        for name, seconds in _busy(one, places, sides, hardware).items():
            terms[name] += seconds
    limited_by = max(terms, key=lambda name: terms[name])
    seconds = terms[limited_by]
    return Bound(dict(terms), seconds, limited_by, useful_flops / len(places) / hardware.peak_flops / seconds)


def _busy(
    one: Collective, places: Sequence[Sequence[int]], sides: Sequence[Side], hardware: Hardware
) -> dict[str, float]:
    """Seconds that a collective needs of each side's links, and of the network between slices or nodes."""
    total, tpu = float(one.bytes * one.times), hardware.platform == "tpu"
    network = f"network between {'slices' if tpu else 'nodes'}"
    if one.axes == "slices":  # the compiler hands a device's own share to this network
        return {network: sent(one.operation, total, one.members) / hardware.far_bandwidth}
    group = [places[device] for device in one.group]
    far = len({place[0] for place in group})
    near = len(group) // far
    out = {network: sent(one.operation, total, far) / near / hardware.far_bandwidth} if far > 1 else {}
    along = [number for number in range(len(sides)) if len({place[1 + number] for place in group}) > 1]
    if near > 1:
        shift = one.operation == "collective-permute"
        links = sum(sides[number].neighbours if shift else sides[number].links for number in along)
        for number in along:
            name = f"links along side {number + 1}" if tpu else "links in the node"
            out[name] = sent(one.operation, total, near) / (links * hardware.link_bandwidth)
    return out


def compiler_seconds(program: Program, clock: float | None) -> float | None:
    """The compiler's own count of cycles, added up one after the other, over the clock; None without a clock.

    Collectives and kernels have no count, so they are free here.
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
