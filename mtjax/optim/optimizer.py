"""Settings of optimizer and schedule, and the optax chain that is made from them."""

import dataclasses

import optax

from mtjax.errors import InputError
from mtjax.optim.optimizers import OPTIMIZERS, AdamW, AnyOptimizer
from mtjax.optim.schedules import SCHEDULES, AnySchedule, Cosine


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Gradient clipping, an optimizer, and its learning rate: a linear warm-up, then a schedule."""

    learning_rate: float = 1e-4  # Peak learning rate, reached after the warm-up.
    warmup_steps: int = 0  # Steps of linear warm-up from 0.
    schedule: AnySchedule = Cosine()
    """Learning rate after the warm-up. A config file may give the name of one without settings."""
    schedule_steps: int | None = None
    """Step at which the schedule ends; None takes `steps`. Set it if `steps` may be raised later."""
    end_fraction: float = 0.1
    """Learning rate at the end of the schedule and after, as a fraction of the peak; unused when constant."""
    optimizer: AnyOptimizer = AdamW()
    """From gradients to updates. A config file may give the name of one without settings."""
    b1: float = 0.9  # Decay of the first moment.
    b2: float = 0.95  # Decay of the second moment.
    eps: float = 1e-8  # Added to the root of the second moment.
    weight_decay: float = 0.0  # Decoupled weight decay, on matrices only (not on norms and biases).
    clip_norm: float = 1.0  # Largest global gradient norm; 0 does not clip.

    def __post_init__(self) -> None:
        for name, registry in (("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, registry.find(getattr(self, name))())
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"optim.learning_rate={self.learning_rate}: expected a positive number, e.g. 1e-4")
        if not 0 <= self.warmup_steps < 2**31 or (self.schedule_steps is not None and self.schedule_steps < 1):
            raise InputError(
                f"optim.warmup_steps={self.warmup_steps}, schedule_steps={self.schedule_steps}: "
                "expected warmup_steps >= 0 and schedule_steps >= 1 (or None)"
            )
        if not (0 <= self.b1 < 1 and 0 <= self.b2 < 1 and 0 < self.eps < float("inf")):
            raise InputError(
                f"optim.b1={self.b1}, b2={self.b2}, eps={self.eps}: decays lie in [0, 1), and eps is a small positive "
                "number such as 1e-8"
            )
        if not (0 <= self.weight_decay < float("inf") and self.clip_norm >= 0 and 0 <= self.end_fraction <= 1):
            raise InputError(
                f"optim.weight_decay={self.weight_decay}, clip_norm={self.clip_norm}, "
                f"end_fraction={self.end_fraction}: expected the first two >= 0 and the last in [0, 1]"
            )


def make_schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Learning rate by step (from 0): `peak * (step + 1) / warmup` while warming up, then the schedule.

    The first update thus has a rate above 0. After the end of the schedule the rate stays at `end_fraction * peak`.
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
    """Clip by global norm, then the optimizer with the schedule.

    Args:
        steps: length of the run; the schedule ends there unless `schedule_steps` is set.
    """
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, config.optimizer(make_schedule(config, steps), config))
