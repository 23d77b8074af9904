"""The contract of a learning-rate schedule."""

from typing import Protocol

import optax

from mtjax.registry import Registry

SCHEDULES = Registry("schedule")
"""Every learning-rate schedule by name."""


class Schedule(Protocol):
    """A frozen dataclass; its fields are its own settings.

    `OptimConfig` adds the linear warm-up in front, so that step 0 here is the first one after the warm-up.
    """

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        """The learning rate by step: `peak` at step 0, `end` from step `steps` on (a schedule may ignore `end`)."""
        ...
