"""The one poll for stopping: Ctrl-C and SIGTERM, in one process or in many."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mtjax.distributed import hosts


@contextmanager
def signals() -> Iterator[Callable[[], int]]:
    """Catch Ctrl-C and SIGTERM while inside; yields the poll: the signal that came, or 0. A second Ctrl-C kills.

    Of many hosts all must ask at the same places, and all get the same answer: a signal that came to any of them.
    """
    with _caught(signal.SIGINT, signal.SIGTERM) as came:
        yield lambda: max(hosts.exchange(came[0]))


@contextmanager
def stop_poll() -> Iterator[Callable[[int], int]]:
    """`should_stop(step)`: the signal to stop for after this step, or 0; the same step on every host.

    Every host must ask once after every step. In one process the signal is caught here. In many, JAX's service catches
    SIGTERM (a handler of ours would take it away), and lets all hosts stop after one common step, at most a few steps
    after it came to any of them. A Ctrl-C is passed on to it.
    """
    if hosts.count() == 1:
        with signals() as asked:
            yield lambda step: asked()
        return
    from jax.experimental import multihost_utils

    reached = multihost_utils.reached_preemption_sync_point
    with _caught(signal.SIGINT, then=lambda: os.kill(os.getpid(), signal.SIGTERM)) as came:
        yield lambda step: (came[0] or signal.SIGTERM) if reached(step) else 0


@contextmanager
def _caught(*numbers: int, then: Callable[[], Any] = lambda: None) -> Iterator[list[int]]:
    """Remember which of these signals came, as the only entry of a list."""
    came = [0]

    def remember(number: int, _: Any) -> None:
        if came[0] and number == signal.SIGINT:
            raise KeyboardInterrupt
        came[0] = number
        then()

    before = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
