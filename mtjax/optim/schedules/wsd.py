"""Warm-up, stable, decay: a constant learning rate for most of the run, then a short decay."""

import dataclasses
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Le

from mtjax.optim.schedules.base import SCHEDULES


@SCHEDULES.register("wsd")
@dataclasses.dataclass(frozen=True)
class WarmupStableDecay:
    """The peak, and over the last part of the run a decay to the end value.

    Formula: with x the share of the decay that is done, `end + (peak - end) (1 - f(x))`; `f` is x (linear), sqrt(x)
    (sqrt) or `(1 - cos(pi x)) / 2` (cosine).

    Want it when a run may be extended: its stable part does not depend on the number of steps. To extend it, resume the
    checkpoint before the decay with a later `optim.schedule_steps`.

    Source: Hu et al., "MiniCPM", 2024 (arXiv 2404.06395); the shape `sqrt`: Hägele et al., "Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations", NeurIPS 2024 (arXiv 2405.18392).
    """

    shape: Literal["linear", "sqrt", "cosine"] = "sqrt"  # Course of the decay.
    share: Annotated[float, Gt(0), Le(1)] = 0.15  # Share of the steps after the warm-up that the decay takes.
    decay_steps: Annotated[int, Ge(1)] | None = None  # Steps of the decay, in place of `share`.

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        falling = min(self.decay_steps or max(round(self.share * steps), 1), steps)
        cosine = lambda x: (1 - jnp.cos(jnp.pi * x)) / 2
        course = {"linear": lambda x: x, "sqrt": jnp.sqrt, "cosine": cosine}[self.shape]

        def rate(step: Any) -> Any:
            done = jnp.clip((step - (steps - falling)) / falling, 0.0, 1.0)
            return end + (peak - end) * (1 - course(done))

        return rate
