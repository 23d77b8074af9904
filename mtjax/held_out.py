"""The loss on a source that is never trained on, measured now and then during a run."""

from typing import Any

import jax

from mtjax.data.batches import Batches
from mtjax.model.policy import make_policy
from mtjax.reference import Reference
from mtjax.step import place_batch
from mtjax.types import LanguageModel, Objective, Params


class HeldOutLoss:
    """Measures the objective's loss over the first batches of a held-out source.

    Args:
        batches: made with `repeat=False`, so every example is there once, in a fixed order; this host's rows.
        count: how many batches, at most one pass.
        reference: what the objective compares with. An objective's batch statistics are those of each held-out batch.
    """

    def __init__(
        self,
        model: LanguageModel,
        objective: Objective,
        batches: Batches,
        count: int,
        mesh: Any,
        chunk: int,
        reference: Reference | None = None,
    ):
        self.batches, self.mesh, self.reference = batches, mesh, reference or Reference()
        self.count = min(count, batches.steps_per_epoch)

        def loss(params: Params, batch: Any, other: Any) -> Any:
            policy = make_policy(model, params, chunk=chunk)
            against = None if self.reference.policy is None else self.reference.policy(other)
            gather = getattr(objective, "statistics", None)
            known = {} if gather is None else {"statistics": gather(policy, batch, reference=against)}
            return objective(policy, batch, reference=against, key=jax.random.key(0), **known)[0]

        self.loss = jax.jit(loss)

    def measure(self, params: Params) -> float:
        """Sum over the batches divided once by the count: nats per unit of weight."""
        with jax.set_mesh(self.mesh):
            placed = (place_batch(self.batches.batch_at(n), self.mesh) for n in range(self.count))
            parts = [self.loss(params, batch, self.reference.params) for batch in placed]
        total, count = (sum(float(part[i]) for part in parts) for i in (0, 1))
        return total / count if count else 0.0
