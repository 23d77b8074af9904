"""What every objective shares: the registry, settings with bounds, the reducer over segments, the weighted loss."""

import math
import operator
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mtjax.errors import InputError
from mtjax.registry import Registry
from mtjax.types import Batch, Mean, Metrics, TokenScores

OBJECTIVES = Registry("objective", requires=("task", "needs_reference"))
"""Every objective by name. `task` is the name of the task that renders its data, or "any" (`mtjax.types.Objective`)."""

Key = PRNGKeyArray | None
Sums = Mapping[str, Mean] | None  # batch statistics (`mtjax.types.Objective`)
Outcome = tuple[Mean, Metrics]  # what an objective returns: the loss of the batch, and metrics
Number = int | float  # The checks at run time take the word `float` literally and would refuse `beta=5`.
Positive = Annotated[Number, Gt(0), Lt(math.inf)]
NonNegative = Annotated[Number, Ge(0), Lt(math.inf)]
BOUNDS: dict[type, Any] = {Gt: (">", operator.gt), Ge: (">=", operator.ge), Lt: ("<", operator.lt)}


class Settings:
    """Base class of objectives, which may change `task` and `needs_reference`; checks the fields by their annotations.

    Raises InputError for a number outside of its bounds (`Annotated[Number, Gt(0)]`, where a string says the way out)
    and for a word that is not among the choices of a `Literal`.
    """

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if get_origin(hint) is Literal and value not in get_args(hint):
                raise InputError(f"objective.{name}={value!r}: expected one of {get_args(hint)}")
            marks = getattr(hint, "__metadata__", ()) if isinstance(value, int | float) else ()
            bounds = [
                (*BOUNDS[type(mark)], getattr(mark, type(mark).__name__.lower()))
                for mark in marks
                if type(mark) in BOUNDS
            ]
            if not all(compare(value, limit) for _, compare, limit in bounds):  # never holds for NaN
                least = "".join(f" {sign} {limit}" for sign, _, limit in bounds if sign != "<")
                why = "".join(f"; {mark}" for mark in marks if isinstance(mark, str))
                raise InputError(f"objective.{name}={value}: expected a finite number{least}{why}")


def segment_sum(x: Float[Array, "*B T"], segments: Int[Array, "*B T"], count: int) -> Float[Array, "*B S"]:
    """Sum per packed example: column s - 1 holds `sum_t x_t [segments_t = s]`, s = 1 .. `count`; padding is left out.

    `count` is static (`data.max_segments`).
    """
    belongs = segments[..., None] == jnp.arange(1, count + 1)
    return jnp.sum(jnp.where(belongs, x[..., None], 0), axis=-2)


def spread(
    values: Float[Array, "*B S"] | Int[Array, "*B S"], segments: Int[Array, "*B T"]
) -> Float[Array, "*B T"] | Int[Array, "*B T"]:
    """Give every token its segment's value: `values[..., segments - 1]`; 0 at padding."""
    token_values = jnp.take_along_axis(values, jnp.maximum(segments - 1, 0), axis=-1)
    return jnp.where(segments > 0, token_values, 0)


def is_target(segments: Int[Array, "*B T"]) -> Float[Array, "*B T"]:
    """1 where a token is predicted from another of its segment; 0 at the first token of a segment and at padding."""
    before = jnp.concatenate([jnp.zeros_like(segments[..., :1]), segments[..., :-1]], axis=-1)
    return jnp.asarray((segments > 0) & (segments == before), jnp.float32)


def weighted_nll(scores: TokenScores, batch: Batch, weights: Float[Array, "*B T"]) -> tuple[Mean, dict[str, Mean]]:
    """The weighted token cross-entropy `-sum_t w_t logprob_t` over `sum_t w_t`, in nats, and metrics.

    A weight at the first token of a segment is ignored, in sum and count alike: nothing predicts that token.

    Metrics: `entropy` and `top1` (share of target tokens that are the most likely one), both weighted as the loss.
    """
    weights = weights * is_target(batch.segments)
    count = jnp.sum(weights)
    # A zero weight must drop a token even if its log-probability is infinite: 0 * inf is NaN.
    total = -jnp.sum(jnp.where(weights != 0, weights * scores.logprob, 0))
    right = jax.lax.stop_gradient(jnp.asarray(scores.logprob >= scores.top_logprob, jnp.float32))
    mean = lambda values: Mean(jnp.sum(weights * values), count)
    return Mean(total, count), {"entropy": mean(scores.entropy), "top1": mean(right)}
