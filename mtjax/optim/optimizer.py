"""Settings of optimizer and schedule, and the optax chain that is made from them."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from annotated_types import Ge, Gt, Le, Lt

from mtjax.errors import InputError
from mtjax.optim.averages import AVERAGES, AnyAverage
from mtjax.optim.compression import COMPRESSIONS, AnyCompression, after_workers
from mtjax.optim.optimizers import OPTIMIZERS, AdamW, AnyOptimizer
from mtjax.optim.parameters import (
    NO_DECAY,
    by_layer,
    by_pattern,
    clipped,
    decayed,
    decays,
    known_patterns,
    matched,
    scaled,
)
from mtjax.optim.schedules import SCHEDULES, AnySchedule, Cosine
from mtjax.sharing import shared
from mtjax.validation import check_types

Decay = Annotated[float, Ge(0), Lt(1)]
BLOCK = 1024  # Updates whose learning rate is computed at a time.
Positive = Annotated[float, Gt(0), Lt(math.inf)]
KINDS = {"schedule": SCHEDULES, "optimizer": OPTIMIZERS, "average": AVERAGES, "compression": COMPRESSIONS}


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
    weight_decay: Annotated[float, Ge(0), Lt(math.inf)] = 0.0  # Decoupled weight decay.
    weight_decay_parts: tuple[tuple[str, float], ...] = ()
    """Parts with a weight decay of their own, as (pattern, decay); the first that fits counts, before the next."""
    weight_decay_exclude: tuple[str, ...] = NO_DECAY
    """Parameters without weight decay: patterns of paths such as `layers/attention/*`; `*` stands for any text."""
    clip_norm: Annotated[float, Ge(0)] = 1.0  # Largest global gradient norm; 0 does not clip.
    clip_parts: tuple[tuple[str, float], ...] = ()
    """Parts that are clipped by a norm of their own, as (pattern, largest norm); `clip_norm` is for all others."""
    rates: tuple[tuple[str, float], ...] = ()
    """Factors of the learning rate by pattern, as (pattern, factor); the first that fits counts."""
    layer_decay: Annotated[float, Gt(0), Le(1)] = 1.0
    """Factor of the learning rate from each layer to the one before it; 0.9 is usual for fine-tuning."""
    average: AnyAverage = None
    """An average of the parameters over the run, measured as `average/*` and taken by `--weights=average`."""
    compression: AnyCompression = None
    """Compressed gradients of data-parallel workers, before clipping and optimizer; None adds full gradients up."""
    frozen: tuple[str, ...] = ()  # Parameters that stay as they are, by pattern; the optimizer keeps no state for them.

    def __post_init__(self) -> None:
        for name, registry in KINDS.items():
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, registry.find(getattr(self, name))())
        check_types(self, "optim")
        for name in ("clip_parts", "rates", "weight_decay_parts"):
            for pattern, value in getattr(self, name):
                if not 0 <= value < math.inf:
                    raise InputError(f"optim.{name}: {value} for '{pattern}'; expected a finite number of at least 0")
        if self.weight_decay_parts and not getattr(self.optimizer, "decays_apart", True):
            raise InputError(
                f"optim.weight_decay_parts: {OPTIMIZERS.name_of(self.optimizer)} has no weight decay apart from its "
                "own steps; leave the setting out, or take optim.optimizer:adamw"
            )

    def decays(self, params: Any) -> Any:
        """Mask of `weight_decay`: true for what fits no pattern of `weight_decay_exclude` or `weight_decay_parts`."""
        return decays(params, (*self.weight_decay_exclude, *(pattern for pattern, _ in self.weight_decay_parts)))


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


def learning_rate_at(config: OptimConfig, steps: int) -> Callable[[int], float]:
    """The learning rate of an update by its number (from 1), computed for many at a time."""
    schedule = jax.jit(jax.vmap(make_schedule(config, steps)))

    @functools.lru_cache(maxsize=2)
    def block(number: int) -> np.ndarray:
        return np.asarray(schedule(jnp.arange(number * BLOCK, (number + 1) * BLOCK, dtype=jnp.int32)))

    return lambda number: float(block((number - 1) // BLOCK)[(number - 1) % BLOCK])


def describe_schedule(config: OptimConfig, steps: int, first: int = 1) -> list[str]:
    """The learning rate at step `first`, at the peak and at the last step, and one sentence for each oddity.

    Oddities are a warm-up that the run or the schedule does not complete, and a schedule that ends before or after the
    run. The peak is looked for at the ends of warm-up and schedule and at 64 steps between.
    """
    schedule, end, warmup = make_schedule(config, steps), config.schedule_steps or steps, config.warmup_steps
    at = {first, steps, *np.linspace(1, steps, 64).astype(int).tolist()}
    at |= {step for step in (1, warmup, warmup + 1, end) if 1 <= step <= steps}
    rates = {step: float(schedule(step - 1)) for step in sorted(at)}
    peak = max(rates, key=lambda step: rates[step])
    name = SCHEDULES.name_of(config.schedule) or type(config.schedule).__name__
    after = f" after {warmup:,} steps of warm-up" if warmup else ""
    last, wanted = rates[steps], config.learning_rate
    found = [
        f"{rates[first]:.3g} at step {first:,}, {rates[peak]:.3g} at step {peak:,} (peak), "
        f"{last:.3g} at step {steps:,}; {name}{after}"
    ]
    if warmup > steps:
        found.append(
            f"the warm-up of {warmup:,} steps is longer than the run of {steps:,}, so the rate only reaches "
            f"{rates[peak] / wanted:.0%} of optim.learning_rate={wanted:g}: lower --optim.warmup_steps or raise --steps"
        )
    elif warmup == steps > 1:
        found.append(
            f"the warm-up of {warmup:,} steps takes the whole run, so the schedule never begins: lower "
            "--optim.warmup_steps or raise --steps"
        )
    elif warmup and warmup >= end and last < wanted:
        found.append(
            f"the warm-up of {warmup:,} steps leaves no step to the schedule, which ends at step {end:,}, so the rate "
            "falls at once: lower --optim.warmup_steps or raise --optim.schedule_steps"
        )
    falls = not math.isclose(float(schedule(max(end, warmup + 1))), wanted, rel_tol=1e-4)
    if end < steps and falls and warmup <= steps:
        found.append(
            f"the schedule ends at step {end:,}, so {steps - end:,} of {steps:,} steps train at {last:.3g}"
            f"{', which changes nothing' if last == 0 else ''}: set --optim.schedule_steps to the last step if that is "
            "not intended (a resumed run keeps the value of its first start)"
        )
    if end > steps and falls:
        found.append(f"the schedule ends at step {end:,}, after the run (optim.schedule_steps)")
    return found


@shared()
def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then the optimizer with the schedule of a run of so many steps. Equal settings share it.

    Factors of the learning rate scale the weight decay too. With `compression` it is an `OfWorkers`, whose `update`
    takes the gradients of workers. Its `init` raises InputError for a pattern that fits no parameter.
    """
    schedule = make_schedule(config, steps)
    parts = [clipped(config.clip_norm, config.clip_parts), config.optimizer(schedule, config)]
    parts += [decayed(config.weight_decay_parts, schedule)] if config.weight_decay_parts else []
    parts += [scaled(by_layer(config.layer_decay))] if config.layer_decay != 1 else []
    parts += [scaled(by_pattern(config.rates))] if config.rates else []
    whole = optax.chain(*parts)
    if config.frozen:
        labels = lambda params: jax.tree.map(
            lambda fits: "frozen" if fits else "trained", matched(params, config.frozen)
        )
        whole = optax.partition({"trained": whole, "frozen": optax.set_to_zero()}, labels)
    own = [pattern for pattern in config.weight_decay_exclude if pattern not in NO_DECAY]
    named = {"weight_decay_exclude": own, "frozen": config.frozen}
    named |= {
        name: [pattern for pattern, _ in getattr(config, name)]
        for name in ("clip_parts", "rates", "weight_decay_parts")
    }
    checks = [known_patterns(patterns, f"optim.{name}") for name, patterns in named.items() if patterns]
    last = [] if config.average is None else [config.average()]
    whole = optax.chain(*checks, whole, *last) if checks or last else whole
    return whole if config.compression is None else after_workers(config.compression, whole)
