"""Sophia: momentum divided by an estimate of the Hessian's diagonal, and clipped."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt

from mtjax.errors import InputError
from mtjax.optim.optimizers.base import OPTIMIZERS, MomentType


def hessian_diagonal() -> optax.GradientTransformationExtraArgs:
    """Hutchinson's estimate `v * (H v)` with random signs v; H v is the derivative of the step's gradient along v."""

    def update(
        updates: Any, state: Any, params: Any = None, *, gradient_of: Callable[[Any], Any] | None = None, **more: Any
    ) -> Any:
        if gradient_of is None:
            raise InputError(
                "optim.optimizer:sophia asks for the gradient at other parameters, which this step does not give (with "
                "optim.compression there is none of the entire batch); take optim.optimizer:adamw"
            )
        key, own = jax.random.split(state.key)
        signs = optax.tree.random_like(own, params, jax.random.rademacher, dtype=jnp.float32)
        product = jax.jvp(gradient_of, (params,), (signs,))[1]
        return jax.tree.map(jnp.multiply, signs, product), optax.contrib.HutchinsonState(key)

    init = lambda params: optax.contrib.HutchinsonState(jax.random.PRNGKey(0))
    return optax.GradientTransformationExtraArgs(init, update)


@OPTIMIZERS.register("sophia")
@dataclasses.dataclass(frozen=True)
class Sophia:
    """Second-order steps with a diagonal Hessian, the form with Hutchinson's estimate (Sophia-H).

    Formula: `m = b1 m + (1 - b1) g`; every `every` steps `h = b2 h + (1 - b2) v * (H v)` with random signs v and the
    Hessian H of the batch's loss; `update = -learning_rate (clip(m' / max(gamma h, eps), -1, 1) + weight_decay p)`,
    `m'` with the bias of its start corrected. Two float32 arrays of the size of the parameters.

    Want it to compare with AdamW when training from nothing. A step with an estimate costs about three gradients and
    holds two. Use `learning_rate` like AdamW's or somewhat less, and `b1=0.965`, `b2=0.99` (optax's defaults). Without
    `optim.compression` only.

    Source: Liu et al., "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training", ICLR
    2024 (arXiv 2305.14342).
    """

    gamma: Annotated[float, Gt(0)] = 0.01  # Factor of the Hessian; larger clips fewer coordinates.
    every: Annotated[int, Ge(1)] = 10  # Steps between two estimates of the Hessian.
    moment_type: MomentType = "float32"  # Type of the momentum.

    def __call__(self, learning_rate: optax.Schedule, shared: Any) -> optax.GradientTransformation:
        return optax.contrib.sophia(
            learning_rate, shared.b1, shared.b2, shared.eps, shared.weight_decay, shared.decays, self.gamma,
            update_interval=self.every, hessian_diagonal_fn=hessian_diagonal(), mu_dtype=self.moment_type,
        )  # fmt: skip
