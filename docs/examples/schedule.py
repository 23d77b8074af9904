"""Polynomial: a decay whose course is a power of what is left of the run."""

import dataclasses

import optax

from mtjax.optim.schedules.base import SCHEDULES


@SCHEDULES.register("polynomial")
@dataclasses.dataclass(frozen=True)
class Polynomial:
    """A power of the share of the run that is left.

    Formula: `end + (peak - end) (1 - step / steps)^power`. Power 1 is the linear schedule.

    Source: Devlin et al., "BERT", 2019 (arXiv 1810.04805), with power 1; the general form is TensorFlow's
    `PolynomialDecay`.
    """

    power: float = 2.0  # Exponent, above 0: larger ones fall earlier.

    def __call__(self, peak: float, steps: int, end: float) -> optax.Schedule:
        """The optax schedule."""
        return optax.polynomial_schedule(peak, end, self.power, steps)
