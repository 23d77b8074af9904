"""Warm-up, stable, decay: a constant learning rate for most of the run, then a short decay."""

import dataclasses

import optax

from mtjax.optim.schedules.base import SCHEDULES


@SCHEDULES.register("wsd")
@dataclasses.dataclass(frozen=True)
class WarmupStableDecay:
    """Constant at the peak, then linear decay to the end value over the last part of the run.

    Use it when a run may be extended later: only the last part depends on the number of steps.

    Source: Hu et al., "MiniCPM", 2024, section 4 (arXiv 2404.06395), with a linear decay.
    """

    decay: float = 0.1  # Share of the steps in the decay phase; above 0 and at most 1.

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        """The optax schedule."""
        falling = max(round(self.decay * steps), 1)
        parts = [optax.constant_schedule(peak), optax.linear_schedule(peak, end, falling)]
        return optax.join_schedules(parts, [steps - falling])
