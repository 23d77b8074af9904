"""Packed pairs: what the objectives that compare a chosen with a rejected text share."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mtjax.errors import InputError
from mtjax.objectives import sequences
from mtjax.objectives.sequences import Sequences
from mtjax.types import Batch, Mean, Policy


class Pairs(NamedTuple):
    """Chosen and rejected texts as numbers, pair k of a row in column k - 1.

    Attributes:
        chosen, rejected: log-probability (0 where not live) and length (1 where not live) of each side.
        live: whether both sides have a target. A pair with targets on one side only compares nothing: what was cut off
            has log-probability 0 under policy and reference alike. It counts nowhere but in the metric `incomplete`.
        incomplete: which pairs have targets on one side only.
    """

    chosen: Sequences
    rejected: Sequences
    live: Bool[Array, "B S"]
    incomplete: Bool[Array, "B S"]


def check_pairs(batch: Batch, objective: str) -> None:
    """Raise InputError unless the batch has chosen and rejected rows."""
    shape = tuple(batch.tokens.shape)
    if len(shape) != 3 or shape[1] != 2:
        raise InputError(
            f"objective '{objective}' compares pairs: got tokens of shape {shape}, expected (B, 2, T), chosen and "
            "rejected; set data.task to the task 'pair'"
        )


def as_pairs(sides: Sequences) -> Pairs:
    """Both sides of `[B, 2, S]` sequences; what is not live gets harmless numbers."""
    live = jnp.all(sides.live, axis=1)

    def side(row: int) -> Sequences:
        return Sequences(
            jnp.where(live, sides.logprob[:, row], 0), jnp.where(live, sides.length[:, row], 1), jnp.ones_like(live)
        )

    return Pairs(side(0), side(1), live, jnp.any(sides.live, axis=1) & ~live)


def pair_scores(policy: Policy, batch: Batch, objective: str) -> Pairs:
    """What a policy says of each pair; gradient flows through the log-probabilities."""
    check_pairs(batch, objective)
    return as_pairs(sequences.sequence_scores(policy.scores(batch), batch))


def reference_pairs(reference: Policy | None, batch: Batch, objective: str) -> Pairs:
    """What the reference says of each pair, without gradient."""
    return as_pairs(sequences.reference_scores(reference, batch, objective))


def pair_metrics(pairs: Pairs, chosen: Float[Array, "B S"], rejected: Float[Array, "B S"]) -> dict[str, Mean]:
    """What to watch while training on pairs; `chosen` and `rejected` are the rewards.

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
    mean, share = lambda x: sequences.mean_of(x, live), lambda x: sequences.share_of(x, live)
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
        "incomplete": sequences.share_of(pairs.incomplete, live | pairs.incomplete),
    } | sequences.confidence(first.logprob, live)
