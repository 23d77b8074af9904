"""Data maps and forgetting: what a run learns of each example, kept in the memory of examples beside any objective."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome
from mtjax.types import Batch, Policy, Remember, TokenScores

ARRAYS = ("probability", "squares", "right", "forgotten")
"""Mean over epochs of an example's probability, sum of squared deviations from it, whether it was right when it was
last seen, and how often it was forgotten."""


def told(scores: TokenScores, batch: Batch) -> tuple[Float[Array, "*B S"], Bool[Array, "*B S"], Bool[Array, "*B S"]]:
    """Of each example: its probability per token `exp(mean log p)`, whether every target is the most likely token, and
    whether it has a target. Of a pair or group, that of the first side."""
    texts = sequences.sequence_scores(scores, batch)
    _, weights = sequences.target_logprob(scores, batch)
    missed = jnp.asarray((weights != 0) & (scores.logprob < scores.top_logprob), jnp.float32)
    right = base.segment_sum(missed, jnp.asarray(batch.segments), sequences.segment_count(batch)) == 0
    found = jnp.exp(texts.mean_logprob), right & texts.live, texts.live
    if batch.tokens.ndim == 2:
        return found
    first = jnp.arange(batch.tokens.shape[1])[:, None] == 0
    return found[0], found[1], found[2] & first


def with_tracking(objective: Any, track: bool) -> Any:
    """The objective with data maps and forgetting counts of every example, or itself."""
    return Tracked(objective) if track else objective


@dataclasses.dataclass(frozen=True)
class Tracked:
    """An objective, and what its run learns of each example, in the memory of examples; made by `with_tracking`.

    The loss is the objective's. After each visit of an example with probability p and n earlier visits, the mean is
    `m + (p - m) / (n + 1)`, and the spread the root of the mean squared deviation (a data map: easy, ambiguous and hard
    examples). An example is forgotten when it was right the last time and is not now (right: every target is the most
    likely token).

    Metrics, over the examples of the batch: `examples/probability`, `examples/spread`, `examples/right`, and
    `examples/forgotten`, the mean number of times that one was forgotten so far.

    Source: Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics", 2020
    (arXiv 2009.10795); Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning",
    2019 (arXiv 1812.05159). Both classify; probability and being right of a text are ours.
    """

    objective: Any

    def __getattr__(self, name: str) -> Any:
        if name == "objective":  # not set yet, as in a copy
            raise AttributeError(name)
        return getattr(self.objective, name)

    @property
    def memory(self) -> tuple[str, ...]:
        """The arrays that are kept: those of the objective too."""
        return (*getattr(self.objective, "memory", ()), *ARRAYS)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, **given: Any
    ) -> Outcome:
        """The loss of the batch, and what to watch and to remember; without a memory, that of the objective alone."""
        loss, metrics = self.objective(policy, batch, reference=reference, key=key, **given)
        if "segment_seen" not in batch.extras:
            return loss, metrics
        probability, right, live = jax.lax.stop_gradient(told(policy.scores(batch), batch))
        seen, mean, squares, was, before = (jnp.asarray(batch.extras[f"segment_{name}"]) for name in ("seen", *ARRAYS))
        new = mean + (probability - mean) / (seen + 1)
        squares = squares + (probability - mean) * (probability - new)
        forgotten = before + jnp.asarray((was > 0) & ~right, jnp.float32)
        spread = jnp.sqrt(jnp.maximum(squares, 0) / (seen + 1))
        kept = {
            "probability": new,
            "squares": squares,
            "right": jnp.asarray(right, jnp.float32),
            "forgotten": forgotten,
        }
        shown = {"probability": new, "spread": spread, "right": kept["right"], "forgotten": forgotten}
        metrics = {**metrics, **{f"examples/{name}": sequences.mean_of(x, live) for name, x in shown.items()}}
        return loss, metrics | {name: Remember(x, live) for name, x in kept.items()}
