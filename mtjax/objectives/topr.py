"""TOPR: right texts imitated, wrong ones pushed down in proportion to how likely they still are."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from mtjax.objectives import base, sequences, signed
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.policy_losses import Surrogate, surrogate_losses
from mtjax.objectives.reductions import Reduction, over_texts, reduced
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

    The losses of tokens are those of `policy_gradient` with the surrogate topr, which is for groups, any advantage and
    a KL; this is for single texts that are right or wrong.

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
        segments, texts = jnp.asarray(batch.segments), over_texts(batch)
        logratio = signed.log_ratio(scores, batch, reference, self.sampler, "topr")
        target = (jnp.asarray(batch.weights) != 0) & (base.is_target(segments) > 0)
        logprob = jnp.where(target, scores.logprob, 0)
        reward = jnp.where(right, jnp.float32(1), jnp.float32(-self.wrong_weight))
        surrogate: Surrogate = "topr" if self.form == "sequence" else "topr_token"
        old, advantage = jax.lax.stop_gradient(logprob - logratio), base.spread(reward, segments)
        losses = surrogate_losses(surrogate, logprob, old, advantage, mean=texts["mean"], total=texts["total"])
        kept = lambda which: signed.kept_texts(batch, jnp.asarray(which, jnp.float32))
        of_text = base.segment_sum(jnp.where(target, batch.weights * logratio, 0), segments, right.shape[-1])
        metrics = sequences.polarity_metrics(sequences.sequence_scores(scores, batch), of_text, right)
        alpha = jnp.exp(jnp.minimum(texts["total"](logratio) if self.form == "sequence" else logratio, 0))
        how: Reduction = "sequence_mean" if self.form == "sequence" else "token_mean"
        metrics["alpha_wrong"] = reduced(jax.lax.stop_gradient(alpha), kept(~right), how)
        if self.form == "sequence":
            return reduced(losses, batch, "sequence_sum"), metrics
        return reduced(losses, kept(reward != 0), "token_mean"), metrics
