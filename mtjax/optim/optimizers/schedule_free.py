"""Schedule-free AdamW: an average of the iterates in place of a falling learning rate."""

import dataclasses
from typing import Any, ClassVar

import optax

from mtjax.optim.optimizers.base import OPTIMIZERS


@OPTIMIZERS.register("schedule_free")
@dataclasses.dataclass(frozen=True)
class ScheduleFree:
    """AdamW whose gradient is taken between the newest iterate and the average of all.

    Formula: `y = (1 - b1) z + b1 x`, `z = z - learning_rate (g(y) / (sqrt(v') + eps) + weight_decay y)`,
    `x = (1 - c) x + c z` with `c` the square of the largest learning rate so far over the sum of these. The parameters
    of the training state are `y`; those to measure, sample and export are `x` (`optim.averages`). Two float32 arrays
    of the size of the parameters. `b1` must be above 0.

    Want it when the number of steps is open: use `optim.schedule:constant` with a warm-up, and a learning rate 1 to 3
    times AdamW's.

    Source: Defazio et al., "The Road Less Scheduled", NeurIPS 2024 (arXiv 2405.15682).
    """

    usual_rate: ClassVar[float] = 0.02
    decays_apart: ClassVar[bool] = False  # what it would add to its updates is no weight decay
    is_average: ClassVar[bool] = True  # the parameters to use are an average, as `--weights=auto` takes them

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        base = optax.chain(
            optax.scale_by_rms(shared.b2, shared.eps, eps_in_sqrt=False, bias_correction=True),
            optax.add_decayed_weights(shared.weight_decay, shared.decays),
            optax.scale_by_learning_rate(learning_rate),
        )
        return optax.contrib.schedule_free(base, learning_rate, shared.b1)
