"""Maximum marginal likelihood: a set of right solutions of one problem, of which any one may be said."""

import dataclasses
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from annotated_types import Gt, Le
from jaxtyping import Array, Bool, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.objectives.numerics import wide
from mtjax.types import Batch, Mean, Policy


def mml_loss(
    logprob: Float[Array, "*B G S"], live: Bool[Array, "*B G S"], *, beta: base.Number
) -> Float[Array, "*B S"]:
    """`-(1 / beta) logsumexp_g (beta logprob_g)` over the live members g of each set; 0 for an empty one.

    >>> one = jnp.array([[-1.0], [-3.0]])
    >>> [round(float(mml_loss(one, one < 0, beta=b)[0]), 6) for b in (1.0, 0.5, 0.25)]
    [0.873072, 0.373477, -0.896308]
    """
    some = jnp.any(live, axis=-2, keepdims=True)
    # A set without members gets zeros: the slope of a logsumexp of -inf alone is not a number.
    scaled = jnp.where(live, beta * wide(logprob), jnp.where(some, -jnp.inf, 0.0))
    return jnp.where(some[..., 0, :], -jax.nn.logsumexp(scaled, axis=-2) / beta, 0)


@base.OBJECTIVES.register("mml")
@dataclasses.dataclass(frozen=True)
class Mml(base.Settings):
    """Likelihood of a set of right solutions: that of any of them (MML), or of each (MLE-Aug).

    Formula: the mean over problems of `marginal_weight (-(1 / beta) logsumexp_i (beta l_i)) + each_weight (-sum_i
    l_i)`, with `l_i = log pi(y_i | x)`, sums over targets, over the right solutions i of the problem in the batch. A
    solution's weight in the gradient is its share `softmax(beta l)_i` of the first term: at beta 1 the likeliest takes
    nearly all, towards 0 all count alike. The value grows by `log(n) / beta` as beta falls; only the gradient has a
    limit. With one right solution it is its negative log-likelihood for any beta.

    Want it for problems with several right solutions, such as samples that were verified: MML lets the model keep to
    the one that it likes best, `mle_aug()`, which the paper's comparison favours (second-hand), learns all of them.
    Sums make problems with many solutions count more in the second term (`each="mean"` does not).

    Solutions of one problem are the candidates of a group (`data.task:group`), batches `(B, G, T)`; wrong ones are left
    out (`extras["segment_polarity"]`). A single text is a set of its own. Targets are the answers: the released code
    counts the question's tokens too. Solutions that stop halfway must have no end token.

    Metrics: `set_size`, `logprob_best` (nats of the likeliest), `winner_share` (its weight in the first term), and
    `nll`, per token of right solutions.

    Source: Ni et al., "Learning Math Reasoning from Self-Sampled Correct and Partially-Correct Solutions", ICLR 2023
    (arXiv 2205.14318), and its code, which has marginal_weight 0 and each_weight 1.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too

    beta: Annotated[base.Number, Gt(0), Le(1)] = 1.0  # 1 is MML; smaller values share the gradient more evenly.
    marginal_weight: NonNegative = 1.0  # Factor on the likelihood of any solution.
    each_weight: NonNegative = 0.0  # Factor on the likelihood of each solution (MLE-Aug).
    each: Literal["sum", "mean"] = "sum"  # Whether the latter is a sum over the solutions of a problem, or their mean.
    length_normalised: bool = False
    """Each `l_i` divided by its own length and multiplied by that of the set's longest text, so that short solutions do
    not take all of the first term."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.marginal_weight and not self.each_weight:
            raise InputError(
                "objective.marginal_weight and each_weight are both 0: nothing would be trained; raise one"
            )

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        scores = policy.scores(batch)
        ours = sequences.sequence_scores(scores, batch)
        right = ours.live & sequences.is_right(batch, "mml")
        as_sets = (lambda x: x[:, None]) if right.ndim == 2 else (lambda x: x)
        live, length = as_sets(right), jnp.where(as_sets(right), as_sets(ours.length), 0)
        logprob = jnp.where(live, as_sets(ours.logprob), 0)
        scaled = logprob
        if self.length_normalised:
            longest = jnp.max(length, axis=-2, keepdims=True)
            scaled = logprob / jnp.where(live, length, 1) * longest
        number, some = jnp.sum(live, axis=-2, dtype=jnp.float32), jnp.any(live, axis=-2)
        each = -jnp.sum(logprob, axis=-2)
        each = each / jnp.maximum(number, 1) if self.each == "mean" else each
        loss = self.marginal_weight * mml_loss(scaled, live, beta=self.beta) + self.each_weight * each
        shares = jax.nn.softmax(jnp.where(live, self.beta * scaled, -1e30), axis=-2)
        mean = lambda values: sequences.mean_of(jax.lax.stop_gradient(values), some)
        metrics = {
            "set_size": mean(number),
            "logprob_best": mean(jnp.max(jnp.where(live, logprob, -jnp.inf), axis=-2)),
            "winner_share": mean(jnp.max(shares, axis=-2)),
            "nll": Mean(-jnp.sum(logprob), jnp.sum(length)),
        }
        return sequences.mean_of(loss, some), metrics


def mle_aug() -> Mml:
    """MLE-Aug: the sum of the negative log-likelihoods of all right solutions of a problem (arXiv 2205.14318)."""
    return Mml(marginal_weight=0.0, each_weight=1.0)


def beta_mml(beta: float = 0.25) -> Mml:
    """Beta-MML: between MML (1) and equal weights (0); 0.25 stands in the released config, commented out."""
    return Mml(beta=beta)
