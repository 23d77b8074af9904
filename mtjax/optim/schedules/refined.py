"""Refined: the learning rates that the gradient norms of an earlier run call for."""

import dataclasses
import json
import pathlib

import jax.numpy as jnp
import optax

from mtjax.errors import InputError
from mtjax.optim.schedules.base import SCHEDULES


@SCHEDULES.register("refined")
@dataclasses.dataclass(frozen=True)
class Refined:
    """A course through given points, which `python -m mtjax.refine RUN` makes from the gradient norms of a run.

    Formula: `peak r(step / steps)`, where r goes in straight lines through `rates`, at equal distances. The course has
    its own warm-up and ends at 0, so leave `optim.warmup_steps` at 0; `optim.end_fraction` is not used.

    Want it for the second run of a model and its data: the first one is best made with `optim.schedule:linear`.

    Source: Defazio et al., "Optimal Linear Decay Learning Rate Schedules and Further Refinements", 2023 (arXiv
    2310.07831).
    """

    rates: tuple[float, ...] = (1.0, 0.0)  # Learning rates from the first to the last step, as fractions of the peak.
    file: str | None = None
    """File of `python -m mtjax.refine`, which gives `rates`; a run keeps the rates and not the file."""

    def __post_init__(self) -> None:
        if self.file is not None:
            object.__setattr__(self, "rates", read_rates(self.file))
            object.__setattr__(self, "file", None)
        rates = self.rates
        if len(rates) < 2 or not all(isinstance(rate, int | float) and 0 <= rate <= 1 for rate in rates):
            raise InputError(f"optim.schedule.rates={rates!r:.80}: expected two numbers or more, each from 0 to 1")

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        points = jnp.linspace(0.0, 1.0, len(self.rates))
        return lambda step: peak * jnp.interp(step / steps, points, jnp.asarray(self.rates))


def read_rates(file: str) -> tuple[float, ...]:
    """The rates in a file of `python -m mtjax.refine`; InputError for any other file."""
    try:
        return tuple(json.loads(pathlib.Path(file).expanduser().read_text())["rates"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else f"it cannot be read ({error})"
        raise InputError(
            f"optim.schedule.file='{file}': {reason}; expected one that `python -m mtjax.refine RUN` has written"
        ) from error
