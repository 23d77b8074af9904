"""Live examples only: leave out what an objective says has nothing left to teach, and fill the batch with others."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from mtjax.data.batches import Batches
from mtjax.distributed.placement import on_all
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.training.step import place_batch
from mtjax.types import Batch, LanguageModel, Objective, Params


@dataclasses.dataclass(frozen=True)
class LiveFilter:
    """Score more examples than a step needs and train on the first that are live.

    It has no memory: what step n looks at depends on the seed and n alone, what it keeps on the weights too, so a
    resumed run goes on as it would have. For objectives that weigh examples, such as dco: there an example whose weight
    F is below 0.1 is one that 3.6 / n or more of the samples solve.
    """

    threshold: float = 0.1  # An example is live while its weight is above this.
    refill_factor: int = 2
    """Batches of candidates per step; each costs a forward pass. Too few live ones leave rows empty."""
    warmup_steps: int = 0  # First steps without filtering; the authors of DCO took 20.

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1 or self.refill_factor < 1 or self.warmup_steps < 0:
            raise InputError(
                f"live_filter {dataclasses.asdict(self)}: expected threshold in [0, 1), refill_factor at least 1 and "
                "warmup_steps at least 0"
            )


class Chosen(NamedTuple):
    """The batch of a step, with what the filter has to say of it.

    Attributes:
        batch: rows of live examples, this host's of them; empty rows where there were too few.
        metrics: `live_share` of the candidates, `live_weight` (their mean weight, dead ones included), `live_shortfall`
            (share of the batch's rows that stayed empty).
    """

    batch: Batch
    metrics: dict[str, float]


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
    weights = getattr(objective, "weights", None)
    if weights is None:
        raise InputError(
            f"live_filter needs an objective that weighs examples, such as dco; {type(objective).__name__} does not: "
            "leave live_filter out"
        )
    # Every host needs all weights, to choose the same examples; it brings its own rows.
    score = jax.jit(
        lambda params, batch: (
            batch.extras["segment_id"],
            weights(make_policy(model, params, chunk=chunk), batch),
        ),
        out_shardings=None if mesh is None else on_all(mesh),
    )

    def weights_of(params: Params, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            numbers, weight = score(params, place_batch(batch, mesh))
        return np.asarray(numbers).ravel(), np.asarray(weight).ravel()

    def choose(params: Params, step: int) -> Chosen:
        if step < settings.warmup_steps:
            return Chosen(batches.batch_at(step), {"live_shortfall": 0.0})
        window = batches.window_at(step, settings.refill_factor)
        parts = [_rows(window, part, settings.refill_factor) for part in range(settings.refill_factor)]
        numbers, weight = map(np.concatenate, zip(*(weights_of(params, part) for part in parts), strict=True))
        numbers, weight = numbers[numbers >= 0], weight[numbers >= 0]
        # By number, each once: a window that reaches into the next epoch may hold an example twice.
        live = np.unique(numbers[weight > settings.threshold]).astype(np.int64)
        batch, empty = batches.repack(live)
        metrics = {"live_share": float(np.mean(weight > settings.threshold)), "live_weight": float(np.mean(weight))}
        return Chosen(batch, metrics | {"live_shortfall": empty})

    return choose


def _rows(batch: Batch, part: int, parts: int) -> Batch:
    """Part `part` of the rows of a batch."""
    size = batch.tokens.shape[0] // parts
    cut: Any = jax.tree.map(lambda x: x[part * size : (part + 1) * size], batch)
    return cut
