"""Prodigy: AdamW that finds its own learning rate."""

import dataclasses
from typing import Annotated, Any, ClassVar

import optax
from annotated_types import Gt

from mtjax.errors import InputError
from mtjax.optim.optimizers.base import OPTIMIZERS


@OPTIMIZERS.register("prodigy")
@dataclasses.dataclass(frozen=True)
class Prodigy:
    """Adam whose step size `d` is the largest lower bound so far of the distance to the solution.

    Formula: Adam's update times `d` and the learning rate, with `d = max(d, d_coefficient r / |s|_1)`, where `r`, `s`
    are averages of `<g, p0 - p>` and of `g`, weighted by `d^2` and the learning rate. Four float32 arrays of the size
    of the parameters. `optim.learning_rate` is a factor, 1 as a rule, and the clipped norm of the gradient does not
    matter. Weight decay is refused: optax's would act on norms and biases too.

    Want it for a first run of a new model and objective, when there is no time for a grid of learning rates.

    Source: Mishchenko and Defazio, "Prodigy", ICML 2024 (arXiv 2306.06101).
    """

    usual_rate: ClassVar[float] = 1.0
    decays_apart: ClassVar[bool] = False  # what it would add to its updates is no weight decay

    first: Annotated[float, Gt(0)] = (
        1e-6  # `d` before the first step; too small costs a few steps, too large may diverge.
    )
    d_coefficient: Annotated[float, Gt(0)] = 1.0  # Factor of the estimate.
    safeguard: bool = True  # Do not let the warm-up of the learning rate shrink the estimate.

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        if shared.weight_decay:
            raise InputError(
                f"optim.weight_decay={shared.weight_decay:g}: prodigy decays norms and biases too, so it is refused; "
                "set --optim.weight_decay=0, or take optim.optimizer:adamw"
            )
        return optax.contrib.prodigy(
            learning_rate, (shared.b1, shared.b2), eps=shared.eps, estim_lr0=self.first,
            estim_lr_coef=self.d_coefficient, safeguard_warmup=self.safeguard,
        )  # fmt: skip
