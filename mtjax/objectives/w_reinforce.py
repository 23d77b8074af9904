"""W-REINFORCE: right samples raised a little, wrong ones lowered; PSR and NSR are its two halves."""

import dataclasses
import math
from typing import Annotated

import jax.numpy as jnp
from annotated_types import Ge, Lt
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences, signed
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import wide
from mtjax.objectives.reductions import Reduction, reduced
from mtjax.objectives.signed import Sampler
from mtjax.types import Batch, Policy


def clipped_surrogate(
    logratio: ArrayLike, advantage: ArrayLike, *, low: base.Number, high: base.Number, dual: base.Number
) -> Float[Array, "..."]:
    """PPO's loss of tokens, `-min(r A, clip(r, 1 - low, 1 + high) A)` with `log r = logratio`, elementwise.

    Where A < 0 it is at most `-dual A` (dual clip), which also keeps it finite for any ratio. At r = 1 the slope is -A,
    as REINFORCE has it.

    >>> [round(float(clipped_surrogate(x, -1.0, low=0.2, high=0.2, dual=3.0)), 4) for x in (-1.0, 0.5, 9.0)]
    [0.8, 1.6487, 3.0]
    """
    logratio, advantage = wide(logratio), wide(advantage)
    raised = jnp.exp(jnp.minimum(logratio, math.log1p(high)))
    lowered = jnp.exp(jnp.clip(logratio, math.log1p(-low), math.log(dual)))
    return jnp.where(advantage < 0, -advantage * lowered, -advantage * raised)


@base.OBJECTIVES.register("w_reinforce")
@dataclasses.dataclass(frozen=True)
class WReinforce(signed.WithSampler):
    """Weighted REINFORCE: the clipped policy gradient with advantage `right_weight` or `-wrong_weight`, no baseline.

    Formula: the `reduction` of `clipped_surrogate(log pi(y_t) - log mu(y_t), A)` over the texts with A not 0, where A
    is `right_weight` for right texts and `-wrong_weight` for wrong ones, and mu is the policy that wrote them. PSR is
    `psr()` (right ones alone), NSR `nsr()` (wrong ones alone).

    Want it when you have the model's own right and wrong samples and care for pass@k: lowering wrong samples leaves
    the rest of the distribution as it is, where raising right ones alone narrows it. Samples must be the model's own
    and fresh: mu is the reference (the run's start, renewed with `reference.refresh_every`) or recorded per token
    (`sampler="recorded"`). A wrong text that is trained again and again stops at the clip `1 - clip_low`, and no
    sooner.

    Texts of advantage 0 are left out of the count as well, as in the released code: with token_mean the step of a wrong
    token grows as the model improves and wrong texts become few. Count all with `right_weight` slightly above 0.

    Needs `extras["segment_polarity"]`: see `mtjax.objectives.npo.Npo`.

    Metrics: log-probability of right and wrong texts apart, `wrong_share`, `ratio` (mean over kept targets), `clipped`
    (share of kept targets without gradient).

    Source: Zhu et al., "The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning", NeurIPS 2025 (arXiv
    2506.01347), and its code, which is built on PPO as in verl.
    """

    right_weight: NonNegative = 0.1  # Advantage of a right text (the paper's lambda); 0 leaves right texts out.
    wrong_weight: NonNegative = 1.0  # Minus the advantage of a wrong text; 0 leaves wrong texts out.
    sampler: Sampler = "reference"  # Who wrote the texts: the reference, or what `sampled_logprob` of the data says.
    clip_low: Annotated[base.Number, Ge(0), Lt(1)] = 0.2  # A wrong token is pushed down to `1 - clip_low` of mu.
    clip_high: NonNegative = 0.2  # A right token is pushed up to `1 + clip_high` of mu.
    dual_clip: Annotated[base.Number, Ge(1), Lt(math.inf)] = 3.0  # Largest ratio that pushes a wrong token down.
    reduction: Reduction = "token_mean"  # Mean over tokens, or over texts: see `mtjax.objectives.reductions`.
    length: base.Positive = 1000  # Length of a text with reduction="constant".

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.right_weight and not self.wrong_weight:
            raise InputError(
                "objective.right_weight and objective.wrong_weight are both 0: nothing would be trained; psr() has 1 "
                "and 0, nsr() 0 and 1"
            )

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores, right = policy.scores(batch), sequences.is_right(batch, "w_reinforce")
        logratio = signed.log_ratio(scores, batch, reference, self.sampler, "w_reinforce")
        advantage = jnp.where(right, jnp.float32(self.right_weight), jnp.float32(-self.wrong_weight))
        kept = jnp.asarray(advantage != 0, jnp.float32)
        of_token = base.spread(advantage, jnp.asarray(batch.segments))
        losses = clipped_surrogate(logratio, of_token, low=self.clip_low, high=self.clip_high, dual=self.dual_clip)
        mean = lambda values, how, length=1: reduced(values, signed.kept_texts(batch, kept), how, length)
        falls = (logratio <= math.log1p(-self.clip_low)) | (logratio >= math.log(self.dual_clip))
        idle = jnp.where(of_token < 0, falls, logratio >= math.log1p(self.clip_high))
        ours = sequences.sequence_scores(scores, batch)
        metrics = sequences.polarity_metrics(
            ours, base.segment_sum(logratio, jnp.asarray(batch.segments), kept.shape[-1]), right
        )
        metrics |= {"ratio": mean(jnp.exp(jnp.minimum(logratio, 10.0)), "token_mean")}
        metrics |= {"clipped": mean(jnp.asarray(idle, jnp.float32), "token_mean")}
        return mean(losses, self.reduction, self.length), metrics


def psr() -> WReinforce:
    """Positive sample reinforcement: right texts alone, at advantage 1 (arXiv 2506.01347)."""
    return WReinforce(right_weight=1.0, wrong_weight=0.0)


def nsr() -> WReinforce:
    """Negative sample reinforcement: wrong texts alone, at advantage -1 (arXiv 2506.01347)."""
    return WReinforce(right_weight=0.0, wrong_weight=1.0)
