"""GLOW: examples that improved least since they were last seen weigh more."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy, Remember


def glow_weight(
    improvement: ArrayLike,
    *,
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 20.0,
    low: ArrayLike = 0.5,
    high: ArrayLike = 5.0,
) -> Float[Array, "..."]:
    """`clip(alpha (1 - sigmoid(beta d)), low, high)` of d, by how many nats per token an example got better.

    >>> round(float(glow_weight(0.1, alpha=3.0, beta=10.0)), 4)
    0.8068
    """
    return jnp.clip(wide(alpha) * jax.nn.sigmoid(-wide(beta) * wide(improvement)), wide(low), wide(high))


@base.OBJECTIVES.register("glow")
@dataclasses.dataclass(frozen=True)
class Glow(base.Settings):
    """Cross-entropy of texts, right and wrong alike, weighted by how little they improved since the last epoch.

    Formula: the mean over texts of `w_i l_i`, with `l_i` the mean cross-entropy of the targets of text i and `w_i =
    glow_weight(l_i when it was last seen - l_i)`, without gradient; 1 for a text that was not seen before, so that the
    first epoch is plain training. It is not divided by the sum of the weights.

    Want it when wrong solutions are trained beside right ones, with no prefix and no negative sign (the task completion
    with `polarities=both`): wrong ones hold valid steps too, and those that are learnt already are held back. The
    authors claim the gain out of domain. Needs several epochs.

    It remembers the last loss of every example in the training state (`mtjax.training.memory`), so that a resumed run
    goes on as it would have. In an evaluation all weights are 1. Where the authors' code gives an example that has no
    last loss in a later epoch the mean of the batch, here its weight is 1.

    Metrics: `nll` (of tokens), `glow_weight`, `improvement` (of texts that were seen before), `seen` (their share).

    Source: GLOW, 2026 (arXiv 2601.04992), as in the authors' trainer; its comments also name alpha 3 and beta 10.
    """

    memory: ClassVar[tuple[str, ...]] = ("last_loss",)

    alpha: Positive = 1.0  # Largest weight before clipping; that of an example that did not change is half of it.
    beta: Positive = 20.0  # How soon the weight falls with an improvement, per nat a token.
    low: NonNegative = 0.5  # Smallest weight.
    high: Positive = 5.0  # Largest weight.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise InputError(f"objective.low={self.low} is above objective.high={self.high}; exchange them")

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch and to remember."""
        scores = policy.scores(batch)
        texts = sequences.sequence_scores(scores, batch)
        loss = -texts.mean_logprob
        last, seen = (batch.extras.get(f"segment_{name}") for name in ("last_loss", "seen"))
        known = texts.live & (jnp.zeros_like(texts.live) if seen is None else jnp.asarray(seen) > 0)
        improvement = jax.lax.stop_gradient((loss if last is None else jnp.asarray(last)) - loss)
        settings = {"alpha": self.alpha, "beta": self.beta, "low": self.low, "high": self.high}
        weight = jnp.where(known, glow_weight(improvement, **settings), 1.0)
        mean = lambda x, live=texts.live: sequences.mean_of(x, live)
        metrics = {"nll": base.weighted_nll(scores, batch, batch.weights)[0], "glow_weight": mean(weight)}
        metrics |= {"improvement": mean(improvement, known), "seen": sequences.share_of(known, texts.live)}
        total: Mean = mean(weight * loss)
        return total, metrics | {"last_loss": Remember(jax.lax.stop_gradient(loss), texts.live)}
