"""TOPR: right texts imitated, wrong ones pushed down in proportion to how likely they still are."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from mtjax.objectives import base, sequences, signed
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.reductions import reduced
from mtjax.objectives.signed import Sampler
from mtjax.types import Batch, Policy


@base.OBJECTIVES.register("topr")
@dataclasses.dataclass(frozen=True)
class Topr(signed.WithSampler):
    """Tapered off-policy REINFORCE.

    Formula: `-alpha R log pi(y)`, with R = 1 for right texts and `-wrong_weight` for wrong ones. The constant alpha is
    1 for right texts and `min(pi / mu, 1)` for wrong ones, mu being the policy that wrote them: a wrong text that has
    become half as likely is pushed half as hard.

    - form `sequence`, the paper's: alpha of the whole text, the mean over texts of sums.
    - form `token`, as in Trinity-RFT: alpha of each token, the mean over tokens.

    Want it for the model's own right and wrong samples over many updates: right ones learn at full speed, and wrong
    ones fade as with `npo`. At `wrong_weight=0` form token is `nll` on the right texts. mu is the reference, or
    recorded per token (`sampler="recorded"`).

    Needs `extras["segment_polarity"]`: see `mtjax.objectives.npo.Npo`.

    Metrics: log-probability and log-ratio (`reward_...`) of right and wrong texts apart, `wrong_share`, `alpha_wrong`.

    Source: Le Roux et al., "Tapered Off-Policy REINFORCE: Stable and efficient reinforcement learning for LLMs", 2025
    (arXiv 2503.14286), known to us second-hand, and Trinity-RFT.
    """

    form: Literal["sequence", "token"] = "sequence"  # Whose ratio tapers: the text's, or each token's.
    wrong_weight: NonNegative = 1.0  # Minus the reward of a wrong text; a right one has 1.
    sampler: Sampler = "reference"  # Who wrote the texts: the reference, or what `sampled_logprob` of the data says.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores, right = policy.scores(batch), sequences.is_right(batch, "topr")
        segments = jnp.asarray(batch.segments)
        logratio = jax.lax.stop_gradient(signed.log_ratio(scores, batch, reference, self.sampler, "topr"))
        ours, count = sequences.sequence_scores(scores, batch), right.shape[-1]
        weights = jnp.asarray(batch.weights, jnp.float32) * base.is_target(segments)
        of_text = base.segment_sum(weights * logratio, segments, count)
        reward = jnp.where(right, jnp.float32(1), jnp.float32(-self.wrong_weight))
        metrics = sequences.polarity_metrics(ours, of_text, right)
        if self.form == "sequence":
            alpha = jnp.where(right, 1.0, jnp.exp(jnp.minimum(of_text, 0)))
            metrics["alpha_wrong"] = sequences.mean_of(alpha, ours.live & ~right)
            return sequences.mean_of(-alpha * reward * ours.logprob, ours.live), metrics
        alpha = jnp.where(
            base.spread(jnp.asarray(right, jnp.int32), segments) > 0, 1.0, jnp.exp(jnp.minimum(logratio, 0))
        )
        logprob = jnp.where(weights != 0, scores.logprob, 0)
        losses = -alpha * base.spread(reward, segments) * logprob
        kept = jnp.asarray(reward != 0, jnp.float32)
        metrics["alpha_wrong"] = reduced(
            alpha, signed.kept_texts(batch, jnp.asarray(~right, jnp.float32)), "token_mean"
        )
        return reduced(losses, signed.kept_texts(batch, kept), "token_mean"), metrics
