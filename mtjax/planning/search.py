"""Other settings of the same run: which fit, and which have the best bound."""

import dataclasses
from collections.abc import Callable, Iterator

from mtjax.config import Config
from mtjax.errors import InputError
from mtjax.planning.program import model_shape
from mtjax.planning.report import Report
from mtjax.planning.topologies import Topology, larger_ones
from mtjax.training.fitting import AUTO, WORK, Remat, activation_bytes

Run = Callable[[Config, Topology, str], Report]
"""Plans `(config, topology, words)`; the words are the config file and its overrides."""


def nearest_that_fits(config: Config, topology: Topology, run: Run, said: str, tries: int) -> str:
    """The overrides of the first of some changes, mildest first, that makes the run fit; a sentence if none does."""
    tried = 0
    for words, changed, larger in _milder(config, topology):
        if tried == tries:
            return f"none of the first {tries} tried; raise --tries"
        try:
            report = run(changed, larger, f"{said} {words}")
        except InputError:  # rows or model that the mesh does not divide
            continue
        tried += 1
        if report.memory.fits:
            return words
    return "none found; take a much larger topology, or shorter rows (--data.sequence_length)"


def _milder(config: Config, topology: Topology) -> Iterator[tuple[str, Config, Topology]]:
    """Changes that need less memory: what costs recomputation, then collectives, then money."""
    change, remat = dataclasses.replace, ""
    if config.model.remat != "full":
        full = change(config, model=change(config.model, remat="full"))
        yield "--model.remat=full", full, topology
        if config.model.remat != AUTO:  # else the rule recomputes what each of the changes below needs
            remat, config = "--model.remat=full ", full
    for times in (2, 4, 8):
        count = config.micro_batch_count * times
        yield f"{remat}--micro_batches={count}", change(config, micro_batches=count), topology
    if getattr(config.objective, "needs_reference", False) and config.reference.kind == "frozen":
        cached = change(config, reference=change(config.reference, kind="cached"))
        yield f"{remat}--reference.kind=cached", cached, topology
    for tensor in (config.mesh.tensor, 2, 4, 8):
        mesh = change(config.mesh, data=1, fsdp=topology.size // tensor, tensor=tensor)
        if mesh != config.mesh and mesh.fsdp * tensor == topology.size and tensor >= config.mesh.tensor:
            words = f"{remat}--mesh.data=1 --mesh.fsdp={mesh.fsdp} --mesh.tensor={tensor}"
            yield words, change(config, mesh=mesh), topology
    mesh = change(config.mesh, data=1, fsdp=-1)
    for larger in larger_ones(topology):
        rows = max(config.batch_size, larger.size * config.micro_batch_count // mesh.tensor)
        words = f"{remat}--topology={larger.name} --mesh.data=1 --mesh.fsdp=-1 --batch_size={rows}"
        yield words, change(config, mesh=mesh, batch_size=rows), larger


def search(config: Config, topology: Topology, run: Run, said: str, tries: int) -> list[Report]:
    """The `tries` candidates that look best, compiled; those that fit first, fastest first."""
    made = []
    for words, changed in candidates(config, topology)[:tries]:
        try:
            made.append(run(changed, topology, f"{said} {words}"))
        except InputError:  # a mesh that finds no place on the torus
            continue
    return sorted(made, key=lambda report: (not report.memory.fits, report.bound.seconds if report.bound else 0.0))


def candidates(config: Config, topology: Topology) -> list[tuple[str, Config]]:
    """Every legal (mesh, remat, micro-batches), with its overrides, least estimated cost first.

    The estimate, in bytes of weights gathered: each forward and backward pass of each micro-batch gathers all weights
    that `fsdp` splits; `tensor` gathers activations twice a layer instead; full recomputation costs a third of the
    products. It only orders what is compiled.
    """
    shape, hardware, devices, out = model_shape(config), topology.hardware, topology.size, []
    hidden = shape.mlp_width if shape.mixture is None else shape.mixture.experts * shape.mixture.width
    columns = hidden * 3 + shape.head_dim * (shape.heads + shape.kv_heads) * 2
    layers = shape.layers + (shape.encoder.layers if shape.encoder else 0)
    weights = 2.0 * layers * shape.width * columns
    tokens = config.batch_size * config.data.sequence_length * config.data.task.sides
    divided_by_tensor = (devices, shape.kv_heads, shape.heads, shape.mlp_width, shape.vocab_size)
    for tensor in (1, 2, 4, 8):
        if any(size % tensor for size in divided_by_tensor):
            continue
        for fsdp in _divisors(devices // tensor):
            data = devices // tensor // fsdp
            rows, rest = divmod(config.batch_size, data * fsdp)
            if rest or shape.width % fsdp or 8.0 * weights / (fsdp * tensor) >= hardware.memory:
                continue
            for micro in (size for size in _divisors(rows) if size <= 16):
                own, length = tokens // (data * fsdp * micro), config.data.sequence_length
                remats: tuple[Remat, ...] = ("none", "dots", "full")
                for remat in remats:
                    platform = hardware.platform
                    kept = activation_bytes(shape, own, length, remat, plain=False, tensor=tensor, platform=platform)
                    if 8.0 * weights / (fsdp * tensor) + kept >= hardware.memory:
                        continue
                    gathered = weights / tensor * micro * (3 if fsdp > 1 else 1)
                    moved = 8.0 * layers * shape.width * tokens / (data * fsdp) if tensor > 1 else 0.0
                    work = WORK[remat] * weights * tokens / devices / hardware.peak_flops
                    cost = max(work, (gathered + moved) / (2 * hardware.link_bandwidth))
                    words = f"--mesh.data={data} --mesh.fsdp={fsdp} --mesh.tensor={tensor} --model.remat={remat}"
                    mesh = dataclasses.replace(config.mesh, data=data, fsdp=fsdp, tensor=tensor)
                    model = dataclasses.replace(config.model, remat=remat)
                    changed = dataclasses.replace(config, mesh=mesh, model=model, micro_batches=micro)
                    out.append((cost, micro, f"{words} --micro_batches={micro}", changed))
    return [(words, changed) for _, _, words, changed in sorted(out, key=lambda entry: entry[:3])]


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]
