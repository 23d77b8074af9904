"""Training metrics: terminal progress, `metrics.jsonl` and trackers, and the FLOPs behind the utilisation."""

import contextlib
import json
import math
import os
import pathlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtjax.distributed import hosts
from mtjax.errors import StorageError
from mtjax.io.files import write_text
from mtjax.io.progress import progress, say, shown
from mtjax.reporting.histogram import bins_in_order
from mtjax.training.trackers import TRACKERS, Sink, Tracked, Tracker


def cut_back(file: pathlib.Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines of steps after `step`, and a torn last one, so that a resumed run repeats none.

    Lines that are damaged are dropped too, and named. Returns the lines of later steps.
    """
    if not file.exists():
        return []
    kept, damaged, later = [], [], []
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True), 1):
        try:
            values = json.loads(line)
            if not all(isinstance(value, int | float) for value in values.values()):
                raise TypeError("expected numbers")
            kept += [line.decode()] if values["step"] <= step else []
            later += [values] if values["step"] > step else []
        except (ValueError, KeyError, TypeError, AttributeError):
            damaged += [number] if line.endswith(b"\n") else []
    if damaged:
        print(f"note: {file}: damaged lines are left out ({', '.join(map(str, damaged[:8]))})")
    write_text(file, "".join(line.rstrip("\n") + "\n" for line in kept))
    return later


class MetricsLog:
    """Writes one JSON object a step to `metrics.jsonl`, in full precision, and the same to each of the trackers.

    Names under `time/` are of this machine, its clock and memory; all others are equal, bit for bit, in a run that was
    killed and resumed. Of many hosts, host 0 writes. A tracker that fails is left out from then on, with a note.

    Raises:
        InputError: the package of a tracker is not installed.
    """

    def __init__(self, run: Tracked, trackers: Sequence[Tracker] = ()):
        self.folder = run.folder
        writes = hosts.index() == 0
        self.sinks = {TRACKERS.name_of(tracker): tracker(run) for tracker in trackers} if writes else {}
        self.file = (run.folder / "metrics.jsonl").open("a") if writes else None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one step's metrics; StorageError if they cannot be written."""
        if self.file is None:
            return
        with self._writing():
            self.file.write(json.dumps({"step": step, **bins_in_order(values)}) + "\n")
            self.file.flush()
        for name in list(self.sinks):
            self._try(name, lambda sink: sink.write(step, values))

    def sync(self) -> None:
        """Flush the lines to disk, before a checkpoint that follows them; StorageError if that fails."""
        if self.file is not None:
            with self._writing():
                os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file and the trackers."""
        if self.file is not None:
            with self._writing():
                self.file.close()
        for name in list(self.sinks):
            self._try(name, lambda sink: sink.close())

    def _try(self, name: str | None, call: Callable[[Sink], None]) -> None:
        try:
            call(self.sinks[name])
        except Exception as error:
            del self.sinks[name]
            print(f"warning  the tracker {name} failed ({error!r:.200}); the run goes on without it", flush=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"metrics cannot be written in {self.folder} ({error.strerror or error}); the checkpoints stay as they "
                "are: free some space, or fix the storage, and start again"
            ) from error


class Work(NamedTuple):
    """What a step processes: padding does not count, and both sides of a pair do."""

    tokens: float  # tokens of the batch
    flops: float  # model FLOPs, see `StepFlops`
    waited: float = 0.0  # seconds that the loop waited for the batch


class Progress:
    """Loss, speed, model FLOPs utilisation and time left up to step `total`: a bar on a terminal, else sparse lines.

    Without a `peak` of FLOP/s there is no MFU.
    """

    def __init__(self, total: int, start: int, peak: float | None):
        self.total, self.peak = total, peak
        self.began, self.start, self.tokens, self.flops = time.perf_counter(), start, 0.0, 0.0
        self.waited = 0.0
        self.compiling, self.said, self.last, self.step = True, -math.inf, self.began, start
        self.text, self.stack = "", contextlib.ExitStack()
        self.advance = self.stack.enter_context(progress("train", total, start))
        self.advance(0, "compiling")

    def update(self, step: int, loss: float | None, work: Work) -> dict[str, float]:
        """Show a finished step; returns the `time/` metrics of the run so far, none at the one that compiled."""
        now = time.perf_counter()
        if self.compiling:  # the first step compiles: the clock starts after it
            self.began, self.start, self.compiling = now, step, False
        else:
            self.tokens, self.flops = self.tokens + work.tokens, self.flops + work.flops
            self.waited += work.waited
        seconds = max(now - self.began, 1e-9)
        found = {"time/tokens_per_second": self.tokens / seconds, "time/input_wait": self.waited / seconds}
        found |= {"time/memory_gb": peak_memory() / 1e9}
        if step > self.start:
            found["time/step"] = (now - self.last) / max(step - self.step, 1)
        if self.peak is not None:
            found["time/mfu"] = self.flops / seconds / self.peak
        left = (self.total - step) * (now - self.began) / max(step - self.start, 1)
        text = "no targets in this batch" if loss is None else f"loss {loss:.4f}"
        if step > self.start:
            mfu = f"  MFU {found['time/mfu']:.1%}" if self.peak is not None else ""
            text += f"  {found['time/tokens_per_second']:,.0f} tokens/s{mfu}"
        self.advance(step - self.step, text)
        self.text = f"step {step}/{self.total}  {text}"
        if not shown() and (step == self.total or now - self.said > 10):
            say(self.text + (f"  {_clock(left)} left" if step > self.start else ""))
            self.said = now
        self.last, self.step = now, step
        return found if step > self.start else {}

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.stack.close()
        if shown() and self.text:
            say(self.text)  # the bar is gone


def peak_memory() -> int:
    """Most bytes that were in use at a time: on the fullest device of this host, or of the process where it has none.

    XLA's CPU devices do not count theirs, so there it is the peak of the process.
    """
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    used = max((one.get("peak_bytes_in_use", 0) for one in stats), default=0)
    unit = 1 if sys.platform == "darwin" else 1024
    return used or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class StepFlops:
    """Model FLOPs of a step from the lengths of its packed texts.

    Formula: `passes (2 N tokens + 2 L H K sum_s length_s^2)` over texts s, which attend to themselves only; see
    `flops_per_token`. A forward pass counts 1 among the `passes`, its backward pass 2, each summed over the models that
    `add` names: a policy has 3, a frozen reference 1, and either 1 more where the objective needs statistics of the
    entire batch first. Cached log-probabilities of a reference cost nothing.
    """

    def __init__(self) -> None:
        self.per_token, self.per_square = 0.0, 0.0

    def add(self, shape: Any, params: Any, passes: int, frozen: Any = ()) -> None:
        """Count `passes` of a model of these settings (`DecoderConfig`) and parameters.

        Of those that are `frozen`, the backward pass computes no gradient: they count one pass less.
        """
        unused = 0 if shape.tied else shape.vocab_size * shape.width  # looked up, not multiplied
        unused += getattr(shape, "idle", 0)  # experts that a token is not routed to
        count = sum(x.size for x in jax.tree.leaves(params)) - unused
        if frozen:
            count -= (sum(x.size for x in jax.tree.leaves(frozen)) - unused) / passes
        layers = shape.layers + (shape.encoder.layers if getattr(shape, "encoder", None) else 0)
        each = flops_per_token(count, layers, shape.heads, shape.head_dim, 0)
        square = flops_per_token(0, layers, shape.heads, shape.head_dim, 1)
        self.per_token, self.per_square = self.per_token + passes / 3 * each, self.per_square + passes / 3 * square

    def work(self, segments: np.ndarray, rows: int) -> Work:
        """The work of a batch of `rows` rows, of which this host has the `segments` `[B, T]` or `[B, 2, T]`."""
        flat = np.asarray(segments).reshape(-1, segments.shape[-1])
        number = np.arange(len(flat))[:, None] * (int(flat.max(initial=0)) + 1) + flat
        lengths = np.bincount(number[flat > 0]).astype(np.float64)
        share = rows / len(segments)  # other hosts' rows are as full
        tokens = share * float(lengths.sum())
        return Work(tokens, self.per_token * tokens + self.per_square * share * float((lengths**2).sum()))


def flops_per_token(parameters: int | float, layers: int, heads: int, head_dim: int, length: int) -> float:
    """Model FLOPs of training on one token: `6 N + 6 L H K T`, causal attention counted at half of `12 L H K T`.

    N is the number of parameters without the embedding table (with it where it is also the head). Recomputation does
    not count, as is usual for MFU. Source: Chowdhery et al. 2022 (PaLM), appendix B.
    """
    return 6.0 * parameters + 6.0 * layers * heads * head_dim * length


# bf16 peak FLOP/s of a device by the beginning of its kind's name; vendors' figures, dense.
PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
}


def peak_flops(devices: Sequence[Any]) -> float | None:
    """Peak FLOP/s of all devices by the table; None for a CPU and other kinds that it lacks, which get no MFU."""
    kind = devices[0].device_kind
    names = [name for name in PEAK_FLOPS if kind.startswith(name)]
    return PEAK_FLOPS[max(names, key=len)] * len(devices) if names else None
