"""The contract of an optimizer."""

from typing import Annotated, Any, Literal, Protocol

import optax
from annotated_types import Ge, Lt

from mtjax.registry import Registry

OPTIMIZERS = Registry("optimizer")
"""Every optimizer by name."""

MomentType = Literal["float32", "bfloat16"]  # Type of the first moment.
Share = Annotated[float, Ge(0), Lt(1)]  # A decay or a momentum.


class Optimizer(Protocol):
    """A frozen dataclass; its fields are the settings that only this optimizer has.

    `make_optimizer` clips the gradient first. Parameters and gradients are float32. One for which `optim.learning_rate`
    means something else than a step of about that size in each coordinate says as `usual_rate` where to start; one
    whose updates are not those of the parameters themselves says `decays_apart = False`.
    """

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        """The transformation from gradients to updates, with the learning rate (by step) and its sign applied.

        `shared` is the `OptimConfig`; `b1`, `b2`, `eps`, `weight_decay` and its mask `decays` are for the optimizers
        that have them. One that cannot honour `weight_decay` raises InputError where it is not 0.
        """
        ...
