"""DFT: each token's cross-entropy times the token's own probability."""

import dataclasses

from jaxtyping import Array, Float

from mtjax.objectives import base
from mtjax.objectives.confidence import TokenLoss, times_probability
from mtjax.types import Batch, Policy, TokenScores


@base.OBJECTIVES.register("dft")
@dataclasses.dataclass(frozen=True)
class Dft(TokenLoss):
    """Dynamic fine-tuning: learn what is half known, and ignore surprises.

    Formula: `-sum_t w_t sg[p_t] log p_t / sum_t w_t`, whose gradient is that of `-p_t`: it maximises the expected
    number of right tokens. The factor on the gradient of -log p is p. The count is that of targets, not the sum of p.

    Want it when the data are noisy or far from what the model would say, and the model knows the subject. It hardly
    learns what the model gives a low probability; published comparisons disagree about its worth. Values are 10 to 20
    times smaller than cross-entropy's: watch `nll`.

    Source: Wu et al., "On the Generalization of SFT: A Reinforcement Learning Perspective with Reward Rectification",
    2025 (arXiv 2508.05629), as in TRL.
    """

    def losses(
        self, logprob: Float[Array, "*B T"], scores: TokenScores, policy: Policy, batch: Batch, reference: Policy | None
    ) -> Float[Array, "*B T"]:
        """`-sg[p] log p`."""
        return times_probability(logprob)
