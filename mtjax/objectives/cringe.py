"""CRINGE: a wrong token is not lowered against everything, but contrasted with what the model would rather say."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences, signed
from mtjax.objectives.base import Key, NonNegative, Outcome
from mtjax.types import Batch, Policy
from mtjax.validation import PositiveInt


def cringe_loss(logits: Float[Array, "C V"], tokens: Array, *, k: int, detach: bool = False) -> Float[Array, " C"]:
    """`sum_j q_j softplus(z_y - z_j)` over the `k` largest logits z_j but the label's, q their softmax (a constant).

    This is the expectation over the token that the authors draw from q; with k = 1 there is nothing to draw. With
    `detach` the other tokens get no gradient.

    >>> round(float(cringe_loss(jnp.array([[2.0, 1, 0, -1]]), jnp.array([1]), k=1)[0]), 6)  # softplus(1 - 2)
    0.313262
    """
    logits = logits.astype(jnp.float32)
    own = jnp.arange(logits.shape[-1]) == tokens[:, None]
    label = jnp.take_along_axis(logits, tokens[:, None], axis=-1)
    best = jax.lax.top_k(jnp.where(own, -jnp.inf, logits), min(k, logits.shape[-1] - 1))[0]
    weight = jax.lax.stop_gradient(jax.nn.softmax(best, axis=-1))
    best = jax.lax.stop_gradient(best) if detach else best
    gap = jnp.where(weight > 0, label - jnp.where(weight > 0, best, 0), 0)
    return jnp.sum(weight * jax.nn.softplus(gap), axis=-1)


@base.OBJECTIVES.register("cringe")
@dataclasses.dataclass(frozen=True)
class Cringe(base.Settings):
    """Cross-entropy on right texts, and on wrong ones a contrast of each token with the model's own best others.

    Formula: `sum_t v_t l_t / sum_t v_t`, where in right segments `v_t = w_t, l_t = -log p_t` and in wrong ones `v_t =
    wrong_weight w_t, l_t = cringe_loss_t`.

    Want it in place of `unlikelihood`: what a wrong token loses goes to a token that the model finds likely, and not to
    the rest of the vocabulary. The method repeats: sample new wrong texts from the trained model and train again. At
    `wrong_weight=0` it is `nll` on the right texts.

    Needs and metrics: as `mtjax.objectives.unlikelihood.Unlikelihood`, with `cringe_wrong`.

    Source: Adolphs et al., "The CRINGE Loss: Learning what language not to model", ACL 2023 (arXiv 2211.05826), and its
    code, which has k = 1 and draws where k is larger; here the draw is replaced by its expectation.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too

    wrong_weight: NonNegative = 1.0  # Weight of a token of a wrong text; one of a right text has 1.
    k: PositiveInt = 1  # How many of the most likely other tokens a wrong one is contrasted with.
    detach: bool = False  # Leave the other tokens without gradient.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        contrast = policy.map_logits(
            lambda logits, tokens, _: cringe_loss(logits, tokens, k=self.k, detach=self.detach), batch
        )
        return signed.right_and_wrong(policy.scores(batch), contrast, batch, self.wrong_weight, "cringe")


@base.OBJECTIVES.register("pairwise_cringe")
@dataclasses.dataclass(frozen=True)
class PairwiseCringe(base.Settings):
    """CRINGE on pairs, with a gate that lets go of pairs that are far enough apart.

    Formula: the mean over pairs of `g (NLL_w + wrong_weight CT_l)`, the means per token of the chosen text's
    cross-entropy and of the rejected text's `cringe_loss`; `g = sigmoid((bound - (log pi(y_w) - log pi(y_l))) /
    temperature)`, a constant, with sums over each text.

    Want it as CRINGE where texts come in pairs, without a reference. Where `gate` is near 0, training is over.

    Source: Xu et al., "Some things are more CRINGE than others: Preference Optimization with the Pairwise Cringe Loss",
    2023 (arXiv 2312.16682). The form and its constants are recalled, and so is the use of means per token.
    """

    task = "pair"

    wrong_weight: NonNegative = 1.0  # Factor on the contrast of the rejected text.
    k: PositiveInt = 1  # How many of the most likely other tokens a rejected one is contrasted with.
    detach: bool = False  # Leave the other tokens without gradient.
    bound: base.Number = -10.0  # Margin in nats at which the gate is half open.
    temperature: base.Positive = 10.0  # How softly the gate closes, in nats.

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        """The loss of the batch, and what to watch."""
        sequences.check_pairs(batch, "pairwise_cringe")
        scores = policy.scores(batch)
        contrast = policy.map_logits(
            lambda logits, tokens, _: cringe_loss(logits, tokens, k=self.k, detach=self.detach), batch
        )
        pairs = sequences.as_pairs(sequences.sequence_scores(scores, batch))
        wrong = sequences.as_pairs(sequences.sequence_scores(scores._replace(logprob=contrast), batch)).rejected
        margin = jax.lax.stop_gradient(pairs.chosen.logprob - pairs.rejected.logprob)
        gate = jax.nn.sigmoid((self.bound - margin) / self.temperature)
        loss = gate * (self.wrong_weight * wrong.mean_logprob - pairs.chosen.mean_logprob)
        metrics = sequences.pair_metrics(pairs, pairs.chosen.logprob, pairs.rejected.logprob)
        metrics |= {
            name: sequences.mean_of(x, pairs.live) for name, x in (("gate", gate), ("cringe", wrong.mean_logprob))
        }
        return sequences.mean_of(loss, pairs.live), metrics
