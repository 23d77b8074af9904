"""How fast: steps of nll and of DPO with a reference over micro-batch, remat and kernel; sampling over its batch."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtjax.distributed.sharding import MeshSpec, device_bytes, make_mesh
from mtjax.errors import InputError
from mtjax.hardware import clock
from mtjax.hardware.report import Line, first_line, judged, measured
from mtjax.hardware.scale import Scale, Speed
from mtjax.model import kernels
from mtjax.model.attention import choice_for
from mtjax.model.language_model import make_language_model
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.reporting.sizes import size_of
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.engine import Request, make_engine
from mtjax.training.fitting import chunk_for, fit
from mtjax.training.metrics_log import StepFlops, peak_flops
from mtjax.training.reference import frozen_reference
from mtjax.training.state import init_state
from mtjax.training.step import make_step_program, place_batch
from mtjax.types import Batch

STEPS = 4  # that are timed
EXAMPLE = 512  # tokens of a text in a row
CLOCK = (0.4, 2.5)  # a step that is waited for, over one of several that are waited for together
PEAK = 1.25  # the device's peak over the compiler's
FULL = ("out of memory", "resource_exhausted", "allocat")
"""What the message of an exception holds where a device is full."""


class Timed(NamedTuple):
    """One setting of a step."""

    words: str
    seconds: float  # of a step, each waited for
    together: float  # of a step where only the last is waited for
    tokens: float  # per second
    share: float | None  # MFU
    compiled: int  # the compiler's peak in bytes
    estimated: int  # the estimate of `training.fitting`


def check_speed(scale: Scale) -> Iterator[Line]:
    """Times of steps; the clock, the estimates of memory and the device's own peak are judged."""
    peaks: list[int] = []
    for of, name in itertools.product(scale.speed, ("nll", "dpo")):
        found: list[Timed] = []
        tried = list(_settings(of, scale, name))
        kernel = choice_for(of.model, of.length).name
        for rows, remat in tried:
            yield from _try(of, name, rows, remat, "auto", found)
        if not found:
            yield Line("speed", f"{of.name}, {name}", "FAIL", text=f"none of {len(tried)} settings ran")
            continue
        best = max(found, key=lambda one: one.tokens)
        rows, remat = next(each for each in tried if best.words.startswith(_words(*each, kernel)))
        here = (one for one, takes in kernels.TABLE.items() if jax.default_backend() in takes.platforms)
        others: list[Any] = [one for one in ("plain", *here) if one != kernel]
        for other in others:
            try:
                choice_for(dataclasses.replace(of.model, attention=other), of.length)
            except InputError as error:
                what = f"{of.name}, {name}: {_words(rows, remat, other)}"
                yield Line("speed", what, "n/a", text=first_line(error))
                continue
            yield from _try(of, name, rows, remat, other, found)
        best = max(found, key=lambda one: one.tokens)
        share = f", MFU {best.share:.1%}" if best.share is not None else ""
        yield measured(
            "speed", f"{of.name}, {name}, best: {best.words}", best.tokens, "tokens/s", text=share.strip(", ")
        )
        ratio = best.seconds / best.together
        kept = CLOCK[0] <= ratio <= CLOCK[1]
        what = f"{of.name}, {name}, clock: a step waited for over one of {STEPS} together"
        yield Line("speed", what, "pass" if kept else "FAIL", ratio, "times", CLOCK[1], text=f"at least {CLOCK[0]}")
        if best.share is not None:
            yield judged("speed", f"{of.name}, {name}, MFU is below 1", best.share, 1.0)
        peaks += [one.compiled for one in found]
        compiled, estimated = max((one.compiled, one.estimated) for one in found)
        what = f"{of.name}, {name}, the compiler's peak of {size_of(compiled)} over the run's estimate"
        yield measured("memory", what, compiled / estimated, "times")
    yield _memory(peaks)


def _memory(peaks: list[int]) -> Line:
    """The device's own peak since the process began against the largest that the compiler announced."""
    used = [(device.memory_stats() or {}).get("peak_bytes_in_use", 0) for device in jax.local_devices()]
    if not max(used):
        return Line(
            "memory", "the device's peak over the plan's", "n/a", text="this platform does not count its memory"
        )
    return judged("memory", "the device's peak over the plan's", max(used) / max(peaks), PEAK, "times")


def _settings(of: Speed, scale: Scale, name: str) -> Iterator[tuple[int, str]]:
    """Rows and remat to try; a pair has two rows."""
    for rows, remat in itertools.product(of.rows, scale.remats):
        if name == "nll" or rows > 1:
            yield (rows if name == "nll" else rows // 2), remat


def _words(rows: int, remat: str, kernel: str) -> str:
    return f"{rows} rows a device, remat {remat}, {kernel}"


def _try(of: Speed, name: str, rows: int, remat: str, asked: str, found: list[Timed]) -> Iterator[Line]:
    """Time one setting and keep it; a device that is full is told, and no failure."""
    try:
        one = time_step(of, name, rows, remat, asked)
    except Exception as error:
        state: Any = "info" if any(word in str(error).lower() for word in FULL) else "FAIL"
        what = f"{of.name}, {name}: {_words(rows, remat, asked)}"
        yield Line("speed", what, state, text=f"{type(error).__name__}: {first_line(error)}")
        return
    found.append(one)
    share = f", MFU {one.share:.1%}" if one.share is not None else ""
    text = f"{one.tokens:,.0f} tokens/s{share}, {size_of(one.compiled)}"
    yield measured("speed", f"{of.name}, {name}: {one.words}", one.seconds * 1e3, "ms a step", text=text)


def time_step(of: Speed, name: str, rows: int, remat: Any, asked: Any) -> Timed:
    """A step of AdamW on packed rows of random tokens, half of them targets, over all devices as `fsdp`."""
    devices = jax.devices()
    mesh = make_mesh(MeshSpec(data=1, fsdp=len(devices)))
    shape = dataclasses.replace(of.model, remat=remat, attention=asked)
    model, optimizer = make_language_model(shape), optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4))
    objective: Any = Nll() if name == "nll" else Dpo()
    batch = _batch(shape.vocab_size, rows * len(devices), of.length, name)
    sides = 1 if name == "nll" else 2
    chunk = chunk_for(shape.vocab_size, rows * sides * of.length, devices[0].platform)
    reference = None if name == "nll" else frozen_reference(model, chunk)
    program = make_step_program(model, objective, optimizer, mesh=mesh, reference=reference, chunk=chunk)
    with jax.set_mesh(mesh):
        state = init_state(model, optimizer, jax.random.key(0), mesh)
        other = None if name == "nll" else init_state(model, optimizer, jax.random.key(1), mesh).params
        placed, key = place_batch(batch, mesh), jax.random.key(0)
        held = device_bytes((state, other))
        step = program.lower(state, placed, key, other).compile()
        kernel = choice_for(shape, of.length, mesh).name
        state, metrics = step(state, placed, key, other)
        clock.wait((state, metrics))
        each, together = [], []
        for _ in range(3):  # the shortest counts: other load only lengthens
            for _ in range(STEPS):
                began = time.perf_counter()
                state, metrics = step(state, placed, key, other)
                clock.wait((state, metrics))
                each.append(time.perf_counter() - began)
            jax.device_get(metrics["loss"])
            began = time.perf_counter()
            for _ in range(STEPS):
                state, metrics = step(state, placed, key, other)
            # Read, and not by our clock: that is what it is held to.
            loss = float(jax.device_get((metrics["loss"], state.params["final_norm"]))[0])
            together.append((time.perf_counter() - began) / STEPS)
    if not np.isfinite(loss):
        raise FloatingPointError(f"the loss after {6 * STEPS + 1} steps is {loss}")
    flops = StepFlops()
    flops.add(shape, state.params, 3)
    if name == "dpo":
        flops.add(shape, state.params, 1)
    work, seconds = flops.work(batch.segments, len(batch.segments)), min(each)
    peak = peak_flops(devices)
    estimate = fit(
        shape, rows * sides * of.length * len(devices), of.length, mesh, held=held,
        gradient=device_bytes(state.params), chunk=chunk, limit=1, remats=(remat,), micro_batches=(1,),
    )  # fmt: skip
    share = None if peak is None else work.flops / seconds / peak
    memory = int(step.memory_analysis().peak_memory_in_bytes)
    return Timed(
        _words(rows, remat, kernel), seconds, min(together), work.tokens / seconds, share, memory, estimate.bytes
    )


def _batch(vocab: int, rows: int, length: int, name: str) -> Batch:
    shape = (rows, length) if name == "nll" else (rows, 2, length)
    size = min(EXAMPLE, length)
    places = np.broadcast_to(np.arange(length), shape)
    tokens = np.random.default_rng(0).integers(1, vocab, shape).astype(np.int32)
    count = -(-length // size)
    extras = {"segment_id": np.zeros((*shape[:-1], count), np.int32)}
    return Batch(tokens, (places % size >= size // 2).astype(np.float32), (places // size + 1).astype(np.int32), extras)


def check_sampling_speed(scale: Scale) -> Iterator[Line]:
    """Tokens per second of the engine, by the number of answers that are drawn side by side."""
    of = scale.speed[0]
    model = make_language_model(of.model)
    params = jax.device_put(jax.jit(model.init)(jax.random.key(0)), jax.devices()[0])
    prompt = np.random.default_rng(0).integers(1, of.model.vocab_size, 64).tolist()
    for slots in scale.slots:
        settings = SamplingConfig(max_new_tokens=scale.new_tokens, temperature=1.0)
        draw = make_engine(model, settings, slots=slots, end_ids=())
        requests = [Request(prompt, number) for number in range(slots)]
        call = lambda draw=draw, requests=requests: [jnp.asarray(a.tokens) for a in draw(params, requests, 0)]  # noqa: B023
        rate = slots * scale.new_tokens / clock.seconds_of(call, 2)
        yield measured("sampling", f"{of.name}, {slots} answers side by side", rate, "tokens/s")
