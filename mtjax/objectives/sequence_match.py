"""SequenceMatch: logits as action values, so that states which the model itself reaches count too."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le
from jaxtyping import Array, Float

from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Sums
from mtjax.types import Batch, Mean, Policy


def action_values(logits: Float[Array, "C V"], tokens: Array, _: Any) -> tuple[Float[Array, " C"], Float[Array, " C"]]:
    """The logit of each token and `V = logsumexp(logits)`, in float32; their difference is its log-probability."""
    wide = logits.astype(jnp.float32)
    return jnp.take_along_axis(wide, tokens[:, None], axis=-1)[:, 0], jax.nn.logsumexp(wide, axis=-1)


def next_values(value: Float[Array, "*B T"], batch: Batch) -> Float[Array, "*B T"]:
    """V of the state that each token leads to: that before the next token of its segment, and 0 where the text ends.

    A backspace, the last token of a segment with `segment_backspace`, takes the token before it away, so that its next
    state is the one in which that token was chosen.
    """
    segments = jnp.asarray(batch.segments)
    after = lambda x: jnp.concatenate([x[..., 1:], jnp.zeros_like(x[..., :1])], axis=-1)
    before = lambda x: jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., :-1]], axis=-1)
    goes_on = (after(segments) == segments) & (segments > 0)
    found = jnp.where(goes_on, after(value), 0)
    if "segment_backspace" not in batch.extras:
        return found
    branch = base.spread(jnp.asarray(batch.extras["segment_backspace"], jnp.float32), segments) > 0
    return jnp.where(branch & ~goes_on, before(value), found)


@base.OBJECTIVES.register("sequence_match")
@dataclasses.dataclass(frozen=True)
class SequenceMatch(base.Settings):
    """Imitation of sequences with logits as action values: IQ-Learn's chi-square loss, as SequenceMatch uses it.

    Formula: `mean over data of (-r + chi2_weight r^2 + (1 - s) (V - gamma V')) + s mean over the model's texts of (V -
    gamma V')`, with the logit l of a token, `V = logsumexp(logits)` before it, V' after it, and the reward `r = l -
    gamma V'` that they imply; s is `model_share`, or 0 in a batch without texts of the model. For SequenceMatch it is
    reconstructed.

    At gamma 1, chi2_weight 0 and without texts of the model it is `nll`, exactly. `chi2_weight` is `1 / (4 alpha)` of
    IQ-Learn (its alpha is 0.5), and `alpha / 4` of SequenceMatch.

    Want it for a model that derails on its own errors: the value term also looks at states that the model reached, and
    with the task `backspace` it learns to take a wrong token back. Start from a fine-tuned model. Logits are values
    here: a regularizer of their normaliser (`z_loss`), or a cap, changes the method.

    Right texts are data and wrong ones the model's own (`extras["segment_polarity"]`); see
    `mtjax.objectives.npo.Npo`. A text ends in a state of value 0. The mean counts targets of the data.

    Metrics: `nll` of the data, `reward` (r), `value` (V), and `value_model` in the model's texts.

    Source: the loss without the model's texts is that of Garg et al., "IQ-Learn", NeurIPS 2021 (arXiv 2106.12142), and
    its code. Cundy and Ermon, "SequenceMatch", ICLR 2024 (arXiv 2306.05426), was read in abstract: its form is
    recalled, its constants are not known to us, and its absorbing end state is left out.
    """

    by_polarity = True  # tells right from wrong texts, so the sides of a pair too

    gamma: Annotated[base.Number, Ge(0), Le(1)] = 1.0  # Discount of the next state's value.
    chi2_weight: NonNegative = 0.5  # Factor on the squared reward, which the chi-square divergence brings.
    model_share: Annotated[base.Number, Ge(0), Le(1)] = 0.5  # Share of the value term that looks at the model's texts.

    def statistics(self, policy: Policy, batch: Batch, *, reference: Policy | None = None) -> dict[str, Mean]:
        """How many targets texts of the data and of the model have, as totals."""
        data, model = self._weights(batch)
        return {name: Mean(jnp.sum(x), jnp.sum(x)) for name, x in (("data", data), ("model", model))}

    def _weights(self, batch: Batch) -> tuple[Any, Any]:
        segments = jnp.asarray(batch.segments)
        right = base.spread(jnp.asarray(sequences.is_right(batch, "sequence_match"), jnp.float32), segments)
        weights = jnp.asarray(batch.weights, jnp.float32) * base.is_target(segments)
        return weights * right, weights * (1 - right)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        known = self.statistics(policy, batch) if statistics is None else statistics
        of_data, of_model = known["data"].total, known["model"].total
        data, model = self._weights(batch)
        # The state after a target may be one in which no target is chosen: values are asked of all tokens.
        every = batch._replace(weights=jnp.asarray(jnp.asarray(batch.segments) > 0, jnp.float32))
        logit, value = policy.map_logits(action_values, every)
        live = (data + model) != 0
        after = self.gamma * next_values(value, batch)
        gone = jnp.where(live, value - after, 0)
        reward = jnp.where(live, logit - after, 0)
        share = jnp.where(of_model > 0, self.model_share, 0.0)
        losses = -reward + self.chi2_weight * reward**2 + (1 - share) * gone
        # Two means in units of the data's targets, so that one count serves both.
        other = share * jnp.sum(model * gone) * of_data / jnp.maximum(of_model, 1e-6)
        mean = lambda values, over: Mean(jnp.sum(jnp.where(over != 0, over * values, 0)), jnp.sum(over))
        total = mean(losses, data)
        metrics = {"nll": mean(value - logit, data), "reward": mean(reward, data), "value": mean(value, data)}
        metrics["value_model"] = mean(value, model)
        return Mean(total.total + other, total.count), metrics
