"""NFT: maximum likelihood on right samples, and on wrong ones through the wrong policy that they imply."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences, signed
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import wide
from mtjax.objectives.reductions import Reduction, reduced
from mtjax.objectives.signed import Sampler
from mtjax.types import Batch, Policy

LARGEST = 10.0  # log-ratios are held here
RATES = (0.02, 0.98)  # success rates are held between these
Omega = Literal["fails", "odds", "one"]


def nft_loss(logratio: ArrayLike, rate: ArrayLike, right: ArrayLike, *, omega: str) -> Float[Array, "..."]:
    """The loss of tokens, elementwise, with `R = exp(logratio)` and the success rate r of the problem.

    - right: `-omega log R`.
    - wrong: `-omega log max(x, 1)`, `x = (1 - r R) / (1 - r)`, in which the maximum has slope 1 in x everywhere
      (straight-through): the value stops at 0, and the push downwards does not.

    omega is `1 - r` (fails), `sqrt((1 - r) / r)` (odds) or 1 (one).

    >>> [0.0 + round(float(nft_loss(x, 0.25, 0, omega="fails")), 6) for x in (-0.6931472, 0.0)]
    [-0.115613, 0.0]
    """
    logratio = jnp.minimum(wide(logratio), LARGEST)
    rate = jax.lax.stop_gradient(jnp.clip(wide(rate), *RATES))
    x = (1 - rate * jnp.exp(logratio)) / (1 - rate)
    held = jax.lax.stop_gradient(jnp.maximum(x, 1))
    wrong = jnp.log(held) + (x - jax.lax.stop_gradient(x)) / held
    factor = {"fails": 1 - rate, "odds": jnp.sqrt((1 - rate) / rate), "one": jnp.ones_like(rate)}[omega]
    return -factor * jnp.where(jnp.asarray(right) > 0.5, logratio, wrong)


@base.OBJECTIVES.register("nft")
@dataclasses.dataclass(frozen=True)
class Nft(signed.WithSampler):
    """Negative-aware fine-tuning: the samples' policy as a mixture of a right and a wrong one, with the success rate.

    Formula: the `reduction` of `nft_loss` over the targets of right texts, and `wrong_weight` times it over those of
    wrong ones. R is the ratio to the policy mu that wrote the texts, r the success rate of the problem when they were
    sampled. Where policy and mu agree, the gradient is that of Dr. GRPO (omega fails) or GRPO (odds).

    Want it for the model's own samples of problems that are solved now and then, in place of rejection sampling
    (`wrong_weight=0`), which throws the wrong ones away. Problems with a rate of 0 or 1 are left out, as in the paper.
    mu is the reference, or recorded per token (`sampler="recorded"`).

    Needs `extras["segment_polarity"]` (see `mtjax.objectives.npo.Npo`) and `extras["segment_success_rate"]`
    (`data.task.success_rate=True`).

    Metrics: log-probability and log-ratio (`reward_...`) of right and wrong texts apart, `wrong_share`, `ratio`,
    `mixed_share` (share of texts whose problem has a rate between 0 and 1).

    Source: Chen et al., "Bridging Supervised Learning and Reinforcement Learning in Math Reasoning", ICLR 2026 (arXiv
    2505.18116), and its code.
    """

    omega: Omega = "fails"  # Weight of a problem by its success rate r: 1 - r, sqrt((1 - r) / r), or 1.
    wrong_weight: NonNegative = 1.0  # Weight of wrong texts; 0 is rejection-sampling fine-tuning.
    sampler: Sampler = "reference"  # Who wrote the texts: the reference, or what `sampled_logprob` of the data says.
    reduction: Reduction = "constant"  # The authors divide the sum over tokens by a constant: `length`.
    length: base.Positive = 1000  # Length of a text with reduction="constant"; 1000 in the released script.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores, right = policy.scores(batch), sequences.is_right(batch, "nft")
        segments = jnp.asarray(batch.segments)
        logratio = signed.log_ratio(scores, batch, reference, self.sampler, "nft")
        rate = sequences.segment_extra(batch, "success_rate", "nft", "set data.task.success_rate=True")
        mixed = (rate > 0) & (rate < 1)
        weight = jnp.where(right, 1.0, jnp.float32(self.wrong_weight))
        spread = lambda x: base.spread(jnp.asarray(x, jnp.float32), segments)
        losses = spread(weight) * nft_loss(logratio, spread(rate), spread(right), omega=self.omega)
        kept = jnp.asarray(mixed & (weight != 0), jnp.float32)
        ours = sequences.sequence_scores(scores, batch)
        of_text = base.segment_sum(jnp.asarray(batch.weights) * logratio, segments, right.shape[-1])
        metrics = sequences.polarity_metrics(ours, of_text, right)
        metrics["mixed_share"] = sequences.share_of(mixed, ours.live)
        metrics["ratio"] = reduced(
            jnp.exp(jnp.minimum(logratio, LARGEST)), signed.kept_texts(batch, kept), "token_mean"
        )
        return reduced(losses, signed.kept_texts(batch, kept), self.reduction, self.length), metrics
