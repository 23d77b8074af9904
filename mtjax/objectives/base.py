"""What every objective shares: the registry, settings with bounds, the reducer over segments, the weighted loss."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Lt
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mtjax.registry import Registry
from mtjax.types import Batch, Mean, Metrics, Policy, TokenScores
from mtjax.validation import check_types

OBJECTIVES = Registry("objective", requires=("task", "needs_reference"))
"""Every objective by name. `task` is the name of the task that renders its data, or "any" (`mtjax.types.Objective`)."""

Key = PRNGKeyArray | None
Sums = Mapping[str, Mean] | None  # batch statistics (`mtjax.types.Objective`)
Running = Mapping[str, Any] | None  # running statistics, float32 scalars by name (`mtjax.types.Objective`)
Outcome = tuple[Mean, Metrics]  # what an objective returns: the loss of the batch, and metrics
Number = int | float  # The checks at run time take the word `float` literally and would refuse `beta=5`.
Positive = Annotated[Number, Gt(0), Lt(math.inf)]
NonNegative = Annotated[Number, Ge(0), Lt(math.inf)]


class Settings:
    """Base class of objectives, which may change `task` and `needs_reference`.

    Raises InputError for a field of a wrong type, outside of its bounds or not among its choices (`mtjax.validation`).
    """

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False

    @property
    def note(self) -> str:
        """What a run prints at its start: where these settings differ from what is known under the same name."""
        return ""

    def __post_init__(self) -> None:
        check_types(self, "objective")


def needs_pass(objective: Any) -> bool:
    """Whether the step runs the model over the entire batch before the loss: for `statistics`, or for `pool`."""
    return hasattr(objective, "statistics") or hasattr(objective, "pool")


def pooled_alone(
    objective: Any, policy: Policy, batch: Batch, reference: Policy | None, key: Key, running: Running = None
) -> Any:
    """What an objective with `pool` gets where the batch is the entire one (`mtjax.types.Objective`)."""
    found = jax.lax.stop_gradient(objective.pool(policy, batch, reference=reference))
    key = jax.random.key(0) if key is None else key
    given = {} if running is None else {"running": running}
    return jax.tree.map(lambda x: x[0], objective.resolve(jax.tree.map(lambda x: x[None], found), key, **given))


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
