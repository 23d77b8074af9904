"""Settings of optimizer and schedule, and the optax chain that is made from them."""

import dataclasses
import math
from typing import Annotated

import optax
from annotated_types import Ge, Gt, Le, Lt

from mtjax.optim.optimizers import OPTIMIZERS, AdamW, AnyOptimizer
from mtjax.optim.schedules import SCHEDULES, AnySchedule, Cosine
from mtjax.validation import check_types

Decay = Annotated[float, Ge(0), Lt(1)]
Positive = Annotated[float, Gt(0), Lt(math.inf)]


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Gradient clipping, an optimizer, and its learning rate: a linear warm-up, then a schedule."""

    learning_rate: Positive = 1e-4  # Peak learning rate, reached after the warm-up.
    warmup_steps: Annotated[int, Ge(0), Lt(2**31)] = 0  # Steps of linear warm-up from 0.
    schedule: AnySchedule = Cosine()
    """Learning rate after the warm-up. A config file may give the name of one without settings."""
    schedule_steps: Annotated[int, Ge(1)] | None = None
    """Step at which the schedule ends; None takes `steps`. Set it if `steps` may be raised later."""
    end_fraction: Annotated[float, Ge(0), Le(1)] = 0.1
    """Learning rate at the end of the schedule and after, as a fraction of the peak; unused when constant."""
    optimizer: AnyOptimizer = AdamW()
    """From gradients to updates. A config file may give the name of one without settings."""
    b1: Decay = 0.9  # Decay of the first moment.
    b2: Decay = 0.95  # Decay of the second moment.
    eps: Positive = 1e-8  # Added to the root of the second moment.
    weight_decay: Annotated[float, Ge(0), Lt(math.inf)] = 0.0  # Decoupled weight decay, not on norms and biases.
    clip_norm: Annotated[float, Ge(0)] = 1.0  # Largest global gradient norm; 0 does not clip.

    def __post_init__(self) -> None:
        for name, registry in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, registry.find(getattr(self, name))())
        check_types(self, "optim")


def make_schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Learning rate by step (from 0): `peak * (step + 1) / warmup` while warming up, then the schedule.

    After the end of the schedule the rate stays at `end_fraction * peak`.
    """
    end = config.schedule_steps or steps
    falling = max(end - config.warmup_steps, 1)
    peak, low = config.learning_rate, config.learning_rate * config.end_fraction
    after: optax.Schedule = config.schedule(peak, falling, low)
    if not config.warmup_steps:
        return after
    first = peak / config.warmup_steps
    warmup = optax.linear_schedule(first, peak, max(config.warmup_steps - 1, 1))
    return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then the optimizer with the schedule of a run of so many steps."""
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, config.optimizer(make_schedule(config, steps), config))
