"""Unlikelihood: the tokens of wrong texts made unlikely, those of right ones likely."""

import dataclasses

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mtjax.objectives import base, signed
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import below_certain, log1mexp
from mtjax.types import Batch, Policy


def unlikelihood_loss(logprob: ArrayLike) -> Float[Array, "..."]:
    """`-log(1 - p)` of `logprob = log p`, elementwise: 0 for an impossible token, 16.6 for one that is certain.

    A p closer to 1 than float32 can tell is held there with its slope, so that value and gradient stay finite and a
    token the model is sure of is still unlearnt.

    >>> round(float(unlikelihood_loss(-0.6931472)), 4)  # p = 1/2: log 2
    0.6931
    """
    return -log1mexp(below_certain(logprob))


@base.OBJECTIVES.register("unlikelihood")
@dataclasses.dataclass(frozen=True)
class Unlikelihood(base.Settings):
    """Cross-entropy on right texts and unlikelihood on wrong ones, token by token.

    Formula: `L = sum_t v_t l_t / sum_t v_t`, where in right segments `v_t = w_t, l_t = -log p_t` and in wrong ones
    `v_t = unlikelihood_weight * w_t, l_t = -log(1 - p_t)`.

    Want it as the plainest use of a negative sign, without a reference; at `unlikelihood_weight=0` it is `nll` on the
    right texts. Most tokens of a wrong solution are right ones, and are pushed down with the rest: start small, or give
    weights to the wrong tokens only.

    Needs `extras["segment_polarity"]` `[*B, S]`, 1 right and 0 wrong: single sequences `(B, T)` without a prefix that
    gives them away (task `completion` with both polarities), or packed pairs `(B, 2, T)`.

    Metrics: `entropy` and `top1` over all targets, `nll_right`, `nll_wrong` and `unlikelihood_wrong` (nats per unit of
    weight), `wrong_share`, and the histogram `confidence/...` of right texts.

    Source: the loss of a negative candidate in Welleck et al., "Neural Text Generation with Unlikelihood Training",
    2019 (arXiv 1908.04319); its use on whole wrong solutions is ours.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too

    unlikelihood_weight: NonNegative = 1.0  # Weight of a token of a wrong text; one of a right text has 1.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores = policy.scores(batch)
        losses = unlikelihood_loss(scores.logprob)
        return signed.right_and_wrong(scores, losses, batch, self.unlikelihood_weight, "unlikelihood")
