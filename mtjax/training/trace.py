"""Traces of some steps for xprof: what the devices and the host did, and when."""

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jax

from mtjax.distributed import hosts
from mtjax.errors import InputError

FOLDER = "profile"  # in the run folder; xprof and TensorBoard look for its sub-folder plugins/profile


def read_span(text: str) -> tuple[int, int]:
    """The first and the last step of `10:15`, from 1; InputError for anything else.

    >>> read_span("10:15")
    (10, 15)
    """
    found = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= first <= last:
        raise InputError(f"profile={text!r}: expected the first and the last step, such as 10:15")
    return first, last


class Trace:
    """Records the steps of `profile` in `FOLDER` of the run folder; nothing without one.

    The device is waited for before the first step and after the last, so that the trace has whole steps. Of many hosts
    each records its own devices, in a sub-folder `process_N` of its own: the profiler names a file by machine and
    second, which two processes on one machine share. A run that begins or ends within the span records what it has of
    it.
    """

    def __init__(self, profile: str | None, folder: pathlib.Path):
        self.first, self.last = read_span(profile) if profile else (0, -1)
        own = f"process_{hosts.index()}" if hosts.count() > 1 else ""
        self.folder, self.running, self.steps = folder / FOLDER / own, False, 0

    @contextlib.contextmanager
    def step(self, number: int, state: Any) -> Iterator[None]:
        """Around step `number`, which starts from `state`."""
        if not self.first <= number <= self.last:
            yield
            return
        if not self.running:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self.folder))
            self.running = True
        self.steps += 1
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def end(self, number: int, values: Any) -> None:
        """After step `number`, whose results are `values`: the last one of the span ends the trace."""
        if self.running and number >= self.last:
            jax.block_until_ready(values)
            self.close()

    def close(self) -> None:
        """End the trace where it is still running, and say where it is."""
        if self.running:
            self.running = False
            jax.profiler.stop_trace()
            print(f"profile  {self.steps} steps in {self.folder}; see docs/hardware.md", flush=True)
