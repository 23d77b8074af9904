"""Infinite: cool-down to a constant learning rate from which training can go on with new data, then annealing."""

import dataclasses
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Le, Lt

from mtjax.errors import InputError
from mtjax.optim.schedules.base import SCHEDULES

Share = Annotated[float, Ge(0), Lt(1)]


@SCHEDULES.register("infinite")
@dataclasses.dataclass(frozen=True)
class Infinite:
    """Cool-down from the peak to a constant rate, the constant rate, and an exponential annealing to the end value.

    Formula: with x the share of the cool-down that is done, `constant + (peak - constant) f(x)`, where `f` is
    `(1 + cos(pi x)) / 2` (cosine), `1 - x` (linear) or `1 - h(x) / h(1)`, `h(x) = 1 / sqrt(1 + sharpness x) - 1`
    (inverse_sqrt); then `constant = peak constant_fraction`; over the last part, with y its share that is done,
    `constant (end / constant)^y`.

    Want it to pre-train on one body of data after another: new data begin from the checkpoint before the annealing
    (`init_from`, and a schedule of `constant`), without a rise of the rate, which is what makes a model forget.

    Source: Ibrahim et al., "Simple and Scalable Strategies to Continually Pre-train Large Language Models", TMLR 2024
    (arXiv 2403.08763).
    """

    cool_down: Share = 0.6  # Share of the steps in the cool-down.
    annealing: Share = 0.1  # Share of the steps in the annealing at the end.
    constant_fraction: Annotated[float, Gt(0), Le(1)] = 0.55  # The constant rate, as a fraction of the peak.
    shape: Literal["cosine", "linear", "inverse_sqrt"] = "cosine"  # Course of the cool-down.
    sharpness: Annotated[float, Gt(0)] = 10.0  # Of the course `inverse_sqrt`.

    def __post_init__(self) -> None:
        if self.cool_down + self.annealing > 1:
            raise InputError(
                f"optim.schedule.cool_down={self.cool_down} and annealing={self.annealing} are more than the run; "
                "expected at most 1 together"
            )

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        constant, cooled, annealed = peak * self.constant_fraction, self.cool_down * steps, (1 - self.annealing) * steps
        hyperbola = lambda x: 1 / jnp.sqrt(1 + self.sharpness * x) - 1
        course = {
            "cosine": lambda x: (1 + jnp.cos(jnp.pi * x)) / 2,
            "linear": lambda x: 1 - x,
            "inverse_sqrt": lambda x: 1 - hyperbola(x) / hyperbola(1.0),
        }[self.shape]
        lowest = max(end, 1e-3 * constant)  # an exponential never reaches 0

        def rate(step: Any) -> Any:
            falling = constant + (peak - constant) * course(jnp.clip(step / max(cooled, 1e-9), 0.0, 1.0))
            done = jnp.clip((step - annealed) / max(steps - annealed, 1e-9), 0.0, 1.0)
            annealing = constant * (lowest / constant) ** done
            return jnp.where(step >= annealed, annealing, falling) if self.annealing else falling

        return rate
