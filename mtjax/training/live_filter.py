"""Drop examples whose objective weight is below a threshold and refill the batch."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
from annotated_types import Ge, Lt
from jax.sharding import Mesh

from mtjax.data.batches import Batches
from mtjax.distributed.placement import on_all
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.sharing import shared
from mtjax.training.step import place_batch
from mtjax.types import Batch, LanguageModel, Objective, Params
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True)
class LiveFilter:
    """Score more examples than a step needs and train on the first that are live.

    It has no state: the candidates of step n depend on the seed and n alone, so a resumed run goes on as it would have.
    For objectives that weigh examples, such as dco: an example whose weight F is below 0.1 is one that 3.6 / n or more
    of the samples solve.
    """

    threshold: Annotated[float, Ge(0), Lt(1)] = 0.1  # An example is live while its weight is above this.
    refill_factor: PositiveInt = 2
    """Batches of candidates per step; each costs a forward pass. Too few live ones leave rows empty."""
    warmup_steps: Annotated[int, Ge(0)] = 0  # First steps without filtering; the authors of DCO took 20.

    def __post_init__(self) -> None:
        check_types(self, "live_filter")


class Chosen(NamedTuple):
    """The batch of a step and the filter's metrics.

    `live_share` of the candidates, `live_weight` (their mean weight, dead ones included) and `live_shortfall` (share of
    the batch's rows that stayed empty).
    """

    batch: Batch  # rows of live examples, this host's of them; empty rows where there were too few
    metrics: dict[str, float]


@shared()
def _weights_program(model: LanguageModel, objective: Any, mesh: Mesh | None, chunk: int) -> Any:
    """`(params, batch) -> (numbers of the examples, their weights)`, compiled."""

    def score(params: Params, batch: Batch) -> Any:
        return batch.extras["segment_id"], objective.weights(
            make_policy(model, params, chunk=chunk, targets_only=True), batch
        )

    return jax.jit(score, out_shardings=None if mesh is None else on_all(mesh))


def make_chooser(
    settings: LiveFilter | None,
    batches: Batches,
    model: LanguageModel,
    objective: Objective,
    mesh: Mesh | None,
    chunk: int,
) -> Callable[[Params, int], Chosen]:
    """`(params, step) -> Chosen`: the batch of a step, filtered by `settings`, or as it comes where they are None.

    Raises InputError for an objective that does not weigh examples.
    """
    if settings is None:
        return lambda params, step: Chosen(batches.batch_at(step), {})
    if not hasattr(objective, "weights"):
        raise InputError(
            f"live_filter needs an objective that weighs examples, such as dco; {type(objective).__name__} does not: "
            "leave live_filter out"
        )
    # Every host needs all weights, to choose the same examples; it brings its own rows.
    score = _weights_program(model, objective, mesh, chunk)

    def weights_of(params: Params, batch: Batch) -> list[np.ndarray]:
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            return [np.asarray(part).ravel() for part in score(params, place_batch(batch, mesh))]

    def choose(params: Params, step: int) -> Chosen:
        if step < settings.warmup_steps:
            return Chosen(batches.batch_at(step), {"live_shortfall": 0.0})
        window = batches.window_at(step, settings.refill_factor)
        size = window.tokens.shape[0] // settings.refill_factor
        cut = lambda start: jax.tree.map(lambda x: x[start : start + size], window)
        parts = [cut(part * size) for part in range(settings.refill_factor)]
        numbers, weight = map(np.concatenate, zip(*(weights_of(params, part) for part in parts), strict=True))
        numbers, weight = numbers[numbers >= 0], weight[numbers >= 0]
        # By number, each once: a window that reaches into the next epoch may hold an example twice.
        live = np.unique(numbers[weight > settings.threshold]).astype(np.int64)
        batch, empty = batches.repack(live)
        metrics = {"live_share": float(np.mean(weight > settings.threshold)), "live_weight": float(np.mean(weight))}
        return Chosen(batch, metrics | {"live_shortfall": empty})

    return choose
