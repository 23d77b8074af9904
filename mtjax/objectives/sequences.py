"""Log-probabilities of packed examples and of packed pairs, shared by the objectives of whole sequences."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mtjax.errors import InputError
from mtjax.objectives import base
from mtjax.types import Batch, Mean, Policy, TokenScores

# Edges of the confidence histogram, in nats: a sequence of log-probability -3 is sampled once in 20 times.
CONFIDENCE_EDGES = (float("-inf"), -100.0, -30.0, -10.0, -3.0, -1.0, 0.0)


class Sequences(NamedTuple):
    """One number per packed example."""

    logprob: Float[Array, "*B S"]  # `sum_t w_t log p(y_t | y_<t)` over the example's targets, in nats; 0 without one
    length: Float[Array, "*B S"]  # `sum_t |w_t|`, the number of targets where weights are 0 and 1; 0 without one
    live: Bool[Array, "*B S"]  # whether the example has a target; columns without an example are not live

    @property
    def mean_logprob(self) -> Float[Array, "*B S"]:
        """`logprob / length`: nats per target; 0 where there is no target."""
        return self.logprob / jnp.where(self.live, self.length, 1)


def segment_count(batch: Batch) -> int:
    """S, the columns of the batch's `segment_...` extras; T where it has none, which is slow but right."""
    columns = {x.shape[-1] for name, x in batch.extras.items() if name.startswith("segment_")}
    if len(columns) > 1:
        raise InputError(f"segment extras have {sorted(columns)} columns; expected the same number in all of them")
    return columns.pop() if columns else batch.tokens.shape[-1]


def target_logprob(scores: TokenScores, batch: Batch) -> tuple[Float[Array, "*B T"], Float[Array, "*B T"]]:
    """`w_t log p_t` and `w_t` per token, both 0 where nothing is predicted."""
    weights = jnp.asarray(batch.weights, jnp.float32) * base.is_target(jnp.asarray(batch.segments))
    # A weight of 0 must drop a token even if its log-probability is infinite: 0 * inf is NaN.
    return jnp.where(weights != 0, weights * scores.logprob, 0), weights


def sequence_scores(scores: TokenScores, batch: Batch) -> Sequences:
    """Log-probability and length of each packed example; gradient flows through `logprob`."""
    logprob, weights = target_logprob(scores, batch)
    segments, count = jnp.asarray(batch.segments), segment_count(batch)
    length = base.segment_sum(jnp.abs(weights), segments, count)
    return Sequences(base.segment_sum(logprob, segments, count), length, length != 0)


def live_texts(batch: Batch) -> Bool[Array, "*B S"]:
    """Which examples have a target."""
    nothing = jnp.zeros(batch.tokens.shape, jnp.float32)
    return sequence_scores(TokenScores(nothing, nothing, nothing), batch).live


def scores_of(reference: Policy | None, batch: Batch, objective: str) -> TokenScores:
    """The tokens' scores under the reference, without gradient. InputError where there is none."""
    if reference is None:
        raise InputError(f"objective '{objective}' compares with a reference policy, got None; pass reference=...")
    return jax.lax.stop_gradient(reference.scores(batch))


def reference_scores(reference: Policy | None, batch: Batch, objective: str) -> Sequences:
    """The same under the reference, without gradient. InputError where there is no reference."""
    return sequence_scores(scores_of(reference, batch, objective), batch)


def segment_extra(batch: Batch, name: str, objective: str, way_out: str) -> Float[Array, "*B S"]:
    """`extras["segment_<name>"]` in float32; InputError with the way out where the batch has none."""
    if f"segment_{name}" not in batch.extras:
        raise InputError(f"'{objective}' needs extras['segment_{name}'], got {sorted(batch.extras)}; {way_out}")
    return jnp.asarray(batch.extras[f"segment_{name}"], jnp.float32)


def is_right(batch: Batch, objective: str) -> Bool[Array, "*B S"]:
    """Which examples are right (`segment_polarity` 1), the others being wrong; of pairs, the chosen row is right."""
    way_out = "use the task 'completion' with polarities='both'"
    return segment_extra(batch, "polarity", objective, way_out) > 0.5


def mean_of(values: Float[Array, "..."], live: Bool[Array, "..."]) -> Mean:
    """Sum and number of the live values."""
    return Mean(jnp.sum(jnp.where(live, values, 0)), jnp.sum(live, dtype=jnp.float32))


def share_of(which: Bool[Array, "..."], live: Bool[Array, "..."]) -> Mean:
    """How many of the live are such, of how many."""
    return mean_of(jnp.asarray(which, jnp.float32), live)


def confidence(logprob: Float[Array, "..."], live: Bool[Array, "..."]) -> dict[str, Mean]:
    """A histogram of log-probabilities: the share in each bin, such as `confidence/-3_to_-1` for -3 < log p <= -1."""
    edges = zip(CONFIDENCE_EDGES[:-1], CONFIDENCE_EDGES[1:], strict=True)
    inside = lambda low, high: (logprob <= high) & ((logprob > low) if low > float("-inf") else True)
    return {f"confidence/{low:g}_to_{high:g}": share_of(inside(low, high), live) for low, high in edges}


def polarity_metrics(sequences: Sequences, reward: Float[Array, "*B S"], right: Bool[Array, "*B S"]) -> dict[str, Mean]:
    """Log-probability (nats) and reward by polarity, share of wrong examples, `confidence/...` of right ones."""
    live, metrics = sequences.live, {}
    for name, which in (("right", right), ("wrong", ~right)):
        metrics[f"logprob_{name}"] = mean_of(sequences.logprob, live & which)
        metrics[f"reward_{name}"] = mean_of(reward, live & which)
    return metrics | {"wrong_share": share_of(~right, live)} | confidence(sequences.logprob, live & right)


class Pairs(NamedTuple):
    """Chosen and rejected texts as numbers, pair k of a row in column k - 1.

    A pair with targets on one side only compares nothing: what was cut off has log-probability 0 under policy and
    reference alike. It counts nowhere but in the metric `incomplete`.
    """

    chosen: Sequences  # log-probability (0 where not live) and length (1 where not live)
    rejected: Sequences
    live: Bool[Array, "B S"]  # whether both sides have a target
    incomplete: Bool[Array, "B S"]  # which pairs have targets on one side only

    def with_logprobs(self, other: "Pairs") -> "Pairs":
        """These pairs with the log-probabilities of others, such as with other weights."""
        chosen, rejected = (
            mine._replace(logprob=theirs.logprob)
            for mine, theirs in ((self.chosen, other.chosen), (self.rejected, other.rejected))
        )
        return self._replace(chosen=chosen, rejected=rejected)


def as_pairs(sides: Sequences) -> Pairs:
    """Chosen and rejected texts of the sums of a pair batch `[B, 2, S]`."""
    live = jnp.all(sides.live, axis=1)
    mask = lambda values, row, other: jnp.where(live, values[:, row], other)
    side = lambda row: Sequences(mask(sides.logprob, row, 0), mask(sides.length, row, 1), jnp.ones_like(live))
    return Pairs(side(0), side(1), live, jnp.any(sides.live, axis=1) & ~live)


def check_pairs(batch: Batch, objective: str) -> None:
    """InputError for a batch without chosen and rejected rows."""
    shape = tuple(batch.tokens.shape)
    if len(shape) != 3 or shape[1] != 2:
        raise InputError(
            f"objective '{objective}' compares pairs: got tokens of shape {shape}, expected (B, 2, T), chosen and "
            "rejected; set data.task to the task 'pair'"
        )


def pair_scores(policy: Policy, batch: Batch, objective: str) -> Pairs:
    """The pairs under a policy, with gradient. InputError for a batch without chosen and rejected rows."""
    check_pairs(batch, objective)
    return as_pairs(sequence_scores(policy.scores(batch), batch))


def pair_counts(batch: Batch) -> dict[str, Mean]:
    """How many pairs and how many chosen targets (by weight) a batch has, each as the total of a `Mean`."""
    nothing = jnp.zeros(batch.tokens.shape, jnp.float32)
    pairs = as_pairs(sequence_scores(TokenScores(nothing, nothing, nothing), batch))
    live = jnp.sum(pairs.live, dtype=jnp.float32)
    return {"pairs": Mean(live, live), "chosen_tokens": mean_of(pairs.chosen.length, pairs.live)}


def chosen_nll(pairs: Pairs, unit: str, counts: Mapping[str, Mean] | None) -> Float[Array, "B S"]:
    """Cross-entropy of each chosen text: its mean per target (unit "pair"), or a share of the batch's mean ("token").

    For the latter, `-log pi(y_w) pairs / chosen_tokens` with the `pair_counts` of the entire batch: the mean over pairs
    is the mean over chosen targets.
    """
    if unit == "pair" or counts is None:
        return -pairs.chosen.mean_logprob
    ratio = counts["pairs"].total / jnp.maximum(counts["chosen_tokens"].total, 1e-6)
    return -pairs.chosen.logprob * ratio


def tail_weights(batch: Batch, factor: float) -> Float[Array, "B 2 T"]:
    """The batch's weights, with those of targets beyond the number of targets of a pair's shorter text times `factor`.

    Targets are tokens that are predicted and have a weight other than 0.
    """
    segments, count = jnp.asarray(batch.segments), segment_count(batch)
    target = jnp.where(jnp.asarray(batch.weights) != 0, base.is_target(segments), 0)
    shorter = jnp.min(base.segment_sum(target, segments, count), axis=1, keepdims=True)
    shorter = base.spread(jnp.broadcast_to(shorter, (*segments.shape[:2], count)), segments)
    own = segments[..., None] == jnp.arange(1, count + 1)
    number = jnp.sum(jnp.where(own, jnp.cumsum(jnp.where(own, target[..., None], 0), axis=-2), 0), axis=-1)
    return jnp.asarray(batch.weights) * jnp.where(number > shorter, factor, 1.0)


def reference_pairs(reference: Policy | None, batch: Batch, objective: str) -> Pairs:
    """The pairs under the reference, without gradient."""
    return as_pairs(reference_scores(reference, batch, objective))


def pair_metrics(pairs: Pairs, chosen: Float[Array, "B S"], rejected: Float[Array, "B S"]) -> dict[str, Mean]:
    """Metrics of training on pairs; `chosen` and `rejected` are the rewards.

    - `logprob_chosen`, `logprob_rejected`: nats per text, apart: both may fall while the margin rises (displacement).
    - `logprob_per_token_chosen`, `logprob_per_token_rejected`: nats per target.
    - `ranking_accuracy`: share with `log pi(chosen) >= log pi(rejected)`; `ranking_accuracy_per_token` compares the
      means per token. Neither is the reward's accuracy (Chen et al., arXiv 2405.19534).
    - `reward_chosen`, `reward_rejected`, `reward_margin`, and `reward_accuracy`: share with a margin above 0.
    - `incomplete`: share of pairs left out because one side has no target.
    - `confidence/...`: the histogram of `log pi(chosen)`.
    """
    pairs, chosen, rejected = jax.lax.stop_gradient((pairs, chosen, rejected))
    live, first, second = pairs.live, pairs.chosen, pairs.rejected
    mean, share = lambda x: mean_of(x, live), lambda x: share_of(x, live)
    per_token = lambda side: Mean(mean(side.logprob).total, mean(side.length).total)
    return {
        "logprob_chosen": mean(first.logprob),
        "logprob_rejected": mean(second.logprob),
        "logprob_per_token_chosen": per_token(first),
        "logprob_per_token_rejected": per_token(second),
        "ranking_accuracy": share(first.logprob >= second.logprob),
        "ranking_accuracy_per_token": share(first.mean_logprob >= second.mean_logprob),
        "reward_chosen": mean(chosen),
        "reward_rejected": mean(rejected),
        "reward_margin": mean(chosen - rejected),
        "reward_accuracy": share(chosen > rejected),
        "incomplete": share_of(pairs.incomplete, live | pairs.incomplete),
    } | confidence(first.logprob, live)
