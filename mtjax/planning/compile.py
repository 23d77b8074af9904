"""Compile a planned program for hardware that is not here, and read everything that the compiler reports about it."""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import re
import sys
import tempfile
import time
from collections import Counter
from importlib import metadata
from typing import Any

import jax
import numpy as np

from mtjax.config import Config
from mtjax.distributed.sharding import device_bytes, make_mesh
from mtjax.io.files import cache_folder, write_text
from mtjax.model.attention import choice_for
from mtjax.planning.bounds import compiler_seconds, roofline
from mtjax.planning.collectives import find_collectives, table
from mtjax.planning.hlo import read_program
from mtjax.planning.lint import lint
from mtjax.planning.program import Planned, chosen, plan_program
from mtjax.planning.report import Memory, Report, from_json
from mtjax.planning.topologies import Topology, describe, places, sides

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
DUMP = {"xla_dump_hlo_as_text": True, "xla_dump_hlo_pass_re": "^$"}
"""With `xla_dump_to`: the compiler writes what fills the memory, also when it gives up."""


def plan(config: Config, topology: Topology, said: str, *, level: str, phase: str, scratch: str) -> Report:
    """The report of one phase of `config` on `topology`.

    Level "fast" compiles with little optimisation (same collectives, a low peak, no time), "full" as a run does. `said`
    is the config file with its overrides; what the compiler dumps when the program does not fit goes to `scratch`.
    Raises InputError as `plan_program` does.
    """
    devices, hardware = describe(topology), topology.hardware
    mesh = make_mesh(config.mesh, devices)
    where = places(topology, mesh.devices.ravel().tolist())
    config = chosen(config, mesh, hardware) if phase == "train" else config
    planned = plan_program(config, mesh, phase)
    package = "libtpu" if hardware.platform == "tpu" else "jax-cuda12-plugin"
    versions = f"jax {jax.__version__}, {package} {metadata.version(package)}"
    file = _cache_file(planned, topology, level, versions)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged: compiled again
        return from_json(json.loads(file.read_text()) | {"config": said})
    compiled, log, refusal = _compile(planned)
    memory = _memory(planned, topology, compiled, refusal, scratch)
    found, findings, bound, compilers = [], [], None, None
    if compiled is not None:
        program, used = read_program(compiled.as_text()), compiled.memory_analysis()
        found = find_collectives(program, mesh.devices.shape, mesh.axis_names, where)
        donated = sum(memory.parts[name] for name in planned.donated)
        findings = lint(found, log, donated, memory.aliased)
        sizes = {"flops": planned.flops, "useful_flops": planned.useful_flops}
        sizes["touched"] = used.argument_size_in_bytes + used.output_size_in_bytes
        bound = roofline(**sizes, collectives=found, places=where, sides=sides(topology), hardware=hardware)
        compilers = compiler_seconds(program, hardware.clock) if level == "full" else None
    shape, torus = planned.shape, "x".join(map(str, topology.shape))
    kernel = choice_for(shape, config.data.sequence_length, mesh).name if phase == "train" else "plain"
    if hardware.platform == "cuda":
        layout = "{} nodes of {}".format(*topology.shape)
    else:
        layout = f"torus {torus}" + ("" if any(topology.wrap) else " without wrap-around")
        layout = f"{topology.slices} slices, each a {layout}" if topology.slices > 1 else layout
    report = Report(
        config=said,
        phase=phase,
        topology=topology.name + (f" x {topology.slices} slices" if topology.slices > 1 else ""),
        hardware=f"{len(where)} x {devices[0].device_kind}, {layout}; {hardware.source}",
        level=level,
        versions=versions,
        mesh=dict(mesh.shape),
        wiring=_wiring(mesh, where, topology),
        model=f"{shape.layers} layers of width {shape.width}, {shape.dtype} compute, remat {shape.remat}, "
        f"{kernel} attention",
        parameters=planned.parameters,
        batch=planned.batch,
        tokens=planned.tokens,
        memory=memory,
        flops=planned.flops,
        useful_flops=planned.useful_flops,
        collectives=tuple(table(found)),
        bound=bound,
        compiler_seconds=compilers,
        findings=tuple(findings),
        seconds=time.process_time(),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(report.to_json()))
    return report


def _compile(planned: Planned, options: dict[str, Any] | None = None) -> tuple[Any, str, str]:
    """The compiled program (None where it does not fit), what C++ wrote to stderr meanwhile, and the refusal."""
    with tempfile.TemporaryFile() as log:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            compiled, refusal = planned.lowered.compile(options), ""
        except jax.errors.JaxRuntimeError as error:
            compiled, refusal = None, str(error)
            if read_refusal(refusal) is None:
                raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        log.seek(0)
        return compiled, log.read().decode(errors="replace"), refusal


def _memory(planned: Planned, topology: Topology, compiled: Any, refusal: str, scratch: str) -> Memory:
    """What a device holds; where it is too much, compile again with a dump to see what is large."""
    parts = {name: device_bytes(tree) for name, tree in planned.parts.items()}
    limit = int(topology.hardware.memory)
    if compiled is not None:
        used = compiled.memory_analysis()
        peak, aliased = int(used.peak_memory_in_bytes), int(used.alias_size_in_bytes)
    else:
        (peak, limit), aliased = read_refusal(refusal) or (0, limit), 0
    if peak <= limit:
        return Memory(parts, peak, limit, aliased)
    folder = pathlib.Path(scratch) / "dump"
    _compile(planned, DUMP | {"xla_dump_to": str(folder)})
    return Memory(parts, peak, limit, aliased, read_largest(folder))


def read_refusal(message: str) -> tuple[int, int] | None:
    """Bytes needed and available, from the compiler's error message; None if it is about something else.

    >>> read_refusal("... for HLO temporaries (1.5G) exceeds available HBM (1.00G).")
    (1610612736, 1073741824)
    """
    found = re.search(r"\(([\d.]+)([KMGT])\) exceeds available \w+ \(([\d.]+)([KMGT])\)", message)
    if found is None:
        return None
    return int(float(found[1]) * UNITS[found[2]]), int(float(found[3]) * UNITS[found[4]])


def read_largest(folder: pathlib.Path, most: int = 6) -> tuple[tuple[int, str], ...]:
    """The largest buffers in the compiler's memory report in `folder`: bytes, and the largest array in each."""
    reports = sorted(folder.rglob("*memory-usage-report.txt"), key=lambda file: file.stat().st_size)
    found: Counter[tuple[int, str]] = Counter()
    elements = lambda array: math.prod(map(int, re.findall(r"\d+", array.partition("[")[2])))
    for line in reports[-1].read_text().splitlines() if reports else ():
        row = re.match(r"\s*[\d.]+[KMGT]?i?B\(.*?\);\s*([\d.]+)([KMGT])iB;\s*\d+;\s*\d+;\s*(.*)", line)
        if row:
            arrays = re.findall(r"[a-z]+\d*\[[\d,]*\]", row[3])
            found[int(float(row[1]) * UNITS[row[2]]), max(arrays, key=elements, default="?")] += 1
    largest = sorted(found.items(), key=lambda entry: -entry[0][0] * entry[1])[:most]
    return tuple((size * count, f"{count} x {name}" if count > 1 else name) for (size, name), count in largest)


def _cache_file(planned: Planned, topology: Topology, level: str, versions: str) -> pathlib.Path:
    """Where the report of this program is kept: by its text, what compiles it, and the code that reads the result."""
    made = hashlib.sha256(planned.lowered.as_text().encode())
    made.update(f"{topology} {topology.hardware} {level} {versions} {planned.shape} {planned.batch}".encode())
    for file in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        made.update(file.read_bytes())
    return cache_folder() / "plans" / f"{made.hexdigest()[:32]}.json"


def _wiring(mesh: Any, where: list[tuple[int, ...]], topology: Topology) -> dict[str, str]:
    """What each axis of the mesh runs along."""
    tpu = topology.hardware.platform == "tpu"
    names = ("slices", "side 1", "side 2", "side 3") if tpu else ("nodes", "GPUs of a node")
    spots = np.array(where).reshape(*mesh.devices.shape, -1)
    out = {}
    for axis, (name, size) in enumerate(mesh.shape.items()):
        moves = (spots != spots.take([0], axis)).reshape(-1, spots.shape[-1]).any(0)
        if size > 1:
            out[name] = " and ".join(names[side] for side in np.flatnonzero(moves)) or "the cores of a chip"
    return out
