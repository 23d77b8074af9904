"""Compile a planned program for hardware that is not here, and read everything that the compiler tells of it."""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax

from mtjax.config import Config
from mtjax.distributed.sharding import make_mesh
from mtjax.io.files import cache_folder, write_text
from mtjax.model.attention import choice_for
from mtjax.planning import memory as memories
from mtjax.planning.bounds import compiler_seconds, roofline
from mtjax.planning.collectives import find_collectives, table
from mtjax.planning.hlo import read_program
from mtjax.planning.lint import lint
from mtjax.planning.memory import Memory, device_bytes
from mtjax.planning.program import Planned, plan_program
from mtjax.planning.report import Report, from_json
from mtjax.planning.topologies import Topology, describe, places, sides


def plan(config: Config, topology: Topology, *, level: str, phase: str, said: str, scratch: str) -> Report:
    """The report of one phase of `config` on `topology`.

    Args:
        level: "fast" compiles with little optimisation (same collectives, a low peak, no time), "full" as a run does.
        said: the config file and overrides, for the report.
        scratch: a folder for what the compiler dumps when the program does not fit.

    Raises:
        InputError: as `plan_program`.
    """
    devices = describe(topology)
    mesh = make_mesh(config.mesh, devices)
    where = places(topology, mesh.devices.ravel().tolist())
    planned = plan_program(config, mesh, phase)
    versions = f"jax {jax.__version__}, {_compiler(topology)}"
    kept = _cache_file(planned, topology, level, versions)
    if kept.exists():
        return from_json(json.loads(kept.read_text()) | {"config": said})
    compiled, log, refusal = _compile(planned)
    program = None if compiled is None else read_program(compiled.as_text())
    found = [] if program is None else find_collectives(program, mesh.devices.shape, mesh.axis_names, where)
    held = _memory(planned, topology, compiled, refusal, scratch)
    bound, compilers = None, None
    if program is not None:
        used = compiled.memory_analysis()
        bound = roofline(
            flops=planned.flops,
            useful_flops=planned.useful_flops,
            touched=used.argument_size_in_bytes + used.output_size_in_bytes,
            collectives=found,
            places=where,
            sides=sides(topology),
            hardware=topology.hardware,
        )
        compilers = compiler_seconds(program, topology.hardware.clock) if level == "full" else None
    donated = sum(held.parts[name] for name in planned.donated)
    shape = planned.shape
    kernel = choice_for(shape, config.data.sequence_length, mesh).name if phase == "train" else "plain"
    report = Report(
        config=said,
        phase=phase,
        topology=topology.name + (f" x {topology.slices} slices" if topology.slices > 1 else ""),
        hardware=f"{len(where)} x {devices[0].device_kind}, {_layout(topology)}; {topology.hardware.source}",
        level=level,
        versions=versions,
        mesh=dict(mesh.shape),
        wiring=_wiring(mesh, where, topology),
        model=f"{shape.layers} layers of width {shape.width}, {shape.dtype} compute, remat {shape.remat}, "
        f"{kernel} attention",
        parameters=planned.parameters,
        batch=planned.batch,
        tokens=planned.tokens,
        memory=held,
        flops=planned.flops,
        useful_flops=planned.useful_flops,
        collectives=tuple(table(found)),
        bound=bound,
        compiler_seconds=compilers,
        findings=() if compiled is None else tuple(lint(found, log, donated, held.aliased)),
        seconds=time.process_time(),
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_text(kept, json.dumps(report.to_json()))
    return report


def _compile(planned: Planned, options: dict[str, Any] | None = None) -> tuple[Any, str, str]:
    """The compiled program (None where it does not fit), what the compiler wrote to stderr, and its refusal."""
    with _captured() as log:
        try:
            compiled, refusal = planned.lowered.compile(options), ""
        except jax.errors.JaxRuntimeError as error:
            compiled, refusal = None, str(error)
            if memories.read_refusal(refusal) is None:
                raise
    return compiled, log[0], refusal


@contextlib.contextmanager
def _captured() -> Iterator[list[str]]:
    """Collect what C++ writes to file descriptor 2 meanwhile."""
    out: list[str] = [""]
    sys.stderr.flush()
    before = os.dup(2)
    read = os.memfd_create("stderr") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    os.dup2(read, 2)
    try:
        yield out
    finally:
        os.dup2(before, 2)
        os.close(before)
        with os.fdopen(read, "rb") as file:
            file.seek(0)
            out[0] = file.read().decode(errors="replace")


def _memory(planned: Planned, topology: Topology, compiled: Any, refusal: str, scratch: str) -> Memory:
    """What a device holds; where it is too much, compile again with a dump to see what is large."""
    parts = {name: device_bytes(tree) for name, tree in planned.parts.items()}
    limit = int(topology.hardware.memory)
    if compiled is not None:
        used = compiled.memory_analysis()
        held = Memory(parts, int(used.peak_memory_in_bytes), limit, int(used.alias_size_in_bytes))
    else:
        needed, limit = memories.read_refusal(refusal) or (0, limit)
        held = Memory(parts, needed, limit, 0)
    if held.fits:
        return held
    folder = pathlib.Path(scratch) / "dump"
    _compile(planned, memories.DUMP | {"xla_dump_to": str(folder)})
    return held._replace(largest=memories.read_largest(folder))


def _compiler(topology: Topology) -> str:
    from importlib import metadata

    package = "libtpu" if topology.hardware.platform == "tpu" else "jax-cuda12-plugin"
    return f"{package} {metadata.version(package)}"


def _cache_file(planned: Planned, topology: Topology, level: str, versions: str) -> pathlib.Path:
    """Where the report of this program is kept: by its text, what compiles it, and the code that reads the result."""
    made = hashlib.sha256(planned.lowered.as_text().encode())
    made.update(f"{topology} {topology.hardware} {level} {versions} {planned.shape} {planned.batch}".encode())
    for file in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        made.update(file.read_bytes())
    return cache_folder() / "plans" / f"{made.hexdigest()[:32]}.json"


def _layout(topology: Topology) -> str:
    shape = "x".join(map(str, topology.shape))
    if topology.hardware.platform == "cuda":
        return f"{topology.shape[0]} nodes of {topology.shape[1]}"
    torus = f"torus {shape}" + ("" if any(topology.wrap) else " without wrap-around")
    return f"{topology.slices} slices, each a {torus}" if topology.slices > 1 else torus


def _wiring(mesh: Any, where: list[tuple[int, ...]], topology: Topology) -> dict[str, str]:
    """What each axis of the mesh runs along."""
    import numpy as np

    tpu = topology.hardware.platform == "tpu"
    names = ["slices" if tpu else "nodes", *(f"side {n + 1}" for n in range(3))] if tpu else ["nodes", "GPUs of a node"]
    spots = np.array(where).reshape(*mesh.devices.shape, -1)
    out = {}
    for axis, name in enumerate(mesh.axis_names):
        line = np.moveaxis(spots, axis, 0).reshape(mesh.devices.shape[axis], -1, spots.shape[-1])
        along = [names[side] for side in range(spots.shape[-1]) if (line[..., side] != line[:1, :, side]).any()]
        if mesh.devices.shape[axis] > 1:
            out[name] = " and ".join(along) or "the cores of a chip"
    return out
