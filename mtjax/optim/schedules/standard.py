"""The schedules that most runs use: cosine, linear and constant."""

import dataclasses

import optax

from mtjax.optim.schedules.base import SCHEDULES


@SCHEDULES.register("cosine")
@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from the peak to the end value.

    Formula: `end + (peak - end) (1 + cos(pi step / steps)) / 2`.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (arXiv 1608.03983).
    """

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        return optax.cosine_decay_schedule(peak, steps, end / peak)


@SCHEDULES.register("linear")
@dataclasses.dataclass(frozen=True)
class Linear:
    """A straight line from the peak to the end value."""

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        return optax.linear_schedule(peak, end, steps)


@SCHEDULES.register("constant")
@dataclasses.dataclass(frozen=True)
class Constant:
    """The peak at every step."""

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        return optax.constant_schedule(peak)
