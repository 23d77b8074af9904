"""Policy gradients on recorded groups: advantage, surrogate, reduction, KL and entropy, each by its own setting."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, NonNegative, Outcome, Positive, Sums
from mtjax.objectives.policy_losses import CLIPS, Bounds, Estimator, Surrogate, kl_estimate, surrogate_losses
from mtjax.objectives.reductions import Reduction, over_texts, reduced
from mtjax.objectives.regularizers.entropy_bonus import entropy
from mtjax.types import Batch, Mean, Policy

Tokens = Float[Array, "*B T"]


@base.OBJECTIVES.register("policy_gradient")
@dataclasses.dataclass(frozen=True)
class PolicyGradient(base.Settings):
    """Raise texts of positive advantage and lower the others: GRPO, DAPO, RLOO, GSPO and their kin on recorded groups.

    Formula: the `reduction` (`mtjax.objectives.reductions`) of `surrogate_t + kl_weight KL_t - entropy_weight H_t` over
    targets t, with `surrogate_losses`, `kl_estimate` and the entropy H of the whole prediction, whose gradient counts.

    Want it when texts were drawn from a model and judged: mined solutions, or a file of groups with rewards. GRPO is
    `reduction="sequence_mean"` with the task's advantage `grpo`; DAPO the reduction token_mean; Dr. GRPO the advantage
    `centered` with the reduction `constant`; RLOO the advantage `rloo` with `sequence_sum`; GSPO the surrogate gspo
    with `sequence_mean`.

    `objective:topr` is the surrogate topr on single right and wrong texts, without groups.

    The ratio of most surrogates is against the policy that drew the texts: its log-probabilities of the batch
    (`old="recorded"`, the task's `logprobs`), or the policy itself ("current", right for one update per rollout, where
    all surrogates have the gradient of reinforce), or the reference ("reference": the run starts from the model that
    drew them, and log-probabilities are computed again). With "reference" and `mismatch_cap`, losses are also weighted
    with `min(exp(log pi_old - log mu), mismatch_cap)`, mu being what was recorded: the correction for texts of another
    engine (TIS).

    Metrics: `reward`, `advantage_abs`, `equal_groups` (share of groups without any advantage), `ratio`, `clip_share`
    (targets that the clip silences), `drift` (KL from the old policy to this one), `kl` (k3, with a reference),
    `entropy`, `finished`; of texts whose reward is above 0, and of the others, `length_right`, `length_wrong` and the
    nats `logprob_right`, `logprob_wrong`.

    Source: Williams, "Simple Statistical Gradient-Following Algorithms", 1992 (reinforce); Schulman et al.,
    "Proximal Policy Optimization Algorithms", 2017 (arXiv 1707.06347); Ye et al., 2019 (arXiv 1912.09729, dual
    clip); Shao et al., 2024 (arXiv 2402.03300, GRPO); Yu et al., 2025 (arXiv 2503.14476, DAPO); Liu et al., 2025
    (arXiv 2503.20783, Dr. GRPO); Zheng et al., 2025 (arXiv 2507.18071, GSPO); MiniMax, 2025 (arXiv 2506.13585,
    CISPO); Zhao et al., 2025 (arXiv 2507.20673, GMPO); arXiv 2511.20347 (SAPO); arXiv 2602.10693 (VESPO, as in
    TRL); Le Roux et al., 2025 (arXiv 2503.14286, TOPR).
    """

    task = "group"

    surrogate: Surrogate = "ppo"  # The loss of a token, see `mtjax.objectives.policy_losses.surrogate_losses`.
    reduction: Reduction = "token_mean"  # From tokens to one loss.
    length: Positive = 1024  # For the reduction `constant`: L, such as the longest answer in tokens.
    old: Literal["recorded", "current", "reference"] = "recorded"  # Whose log-probabilities the ratio is against.
    clip_low: NonNegative | None = None
    """How far below 1 a ratio is clipped; None is 0.2, and 3e-4 for gspo. Of gmpo its logarithm, 0.4."""
    clip_high: NonNegative | None = (
        None  # How far above 1; None is 0.28, and 4e-4 for gspo. Of gmpo its logarithm, 0.4.
    )
    cap: Positive | None = None
    """Largest weight of cispo (None is 5); for ppo and gspo the largest ratio that a wrong text's loss sees (delta)."""
    dual_clip: Positive | None = None  # ppo, gspo: the loss of a wrong text is at most so much times -A (verl: 3).
    tau_right: Positive = 1.0  # sapo: temperature of its gate for positive advantages.
    tau_wrong: Positive = 1.05  # sapo: temperature for negative ones.
    kl_weight: NonNegative = 0.0  # Weight of the KL to the reference; above 0 a reference is needed.
    kl: Estimator = "k2"  # Its estimate; k1 has no gradient on average, and k3 that of the other direction.
    entropy_weight: NonNegative = 0.0  # Weight of the entropy bonus.
    mismatch_cap: Positive | None = None  # Largest weight for another engine's texts (TIS: 2), with old="reference".
    whiten: Literal["none", "texts", "tokens", "advantages"] = "none"
    """Divide the advantages by a deviation over the batch: that of the texts' rewards (with `centered` Lite PPO, TRL's
    scale_rewards=batch), or after subtracting the mean that of the advantages of all tokens (REINFORCE++) or of all
    texts ("advantages": GDPO)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        silent = {
            "dual_clip": self.dual_clip is not None and self.surrogate not in ("ppo", "gspo"),
            "cap": self.cap is not None and self.surrogate not in ("ppo", "gspo", "cispo"),
            "mismatch_cap": self.mismatch_cap is not None and self.old != "reference",
        }
        for name, wrong in silent.items():
            if wrong:
                what = f"old={self.old!r}" if name == "mismatch_cap" else f"surrogate {self.surrogate!r}"
                raise InputError(f"objective.{name}={getattr(self, name)}: {what} has no use for it; leave it out")

    @property
    def needs_reference(self) -> bool:  # type: ignore[override]
        """Whether the settings compare with a reference."""
        return self.kl_weight > 0 or self.old == "reference"

    @property
    def statistics(self) -> Callable[..., dict[str, Mean]]:
        """Sums over the batch of what the advantages are divided by, where they are."""
        if self.whiten == "none":
            raise AttributeError("statistics")  # no pass over the entire batch without need
        return lambda policy, batch, *, reference=None: self._moments(batch)

    def _moments(self, batch: Batch) -> dict[str, Mean]:
        how: Reduction = "token_mean" if self.whiten == "tokens" else "sequence_mean"
        column = _column(batch, "reward" if self.whiten == "texts" else "advantage")
        values = base.spread(column, jnp.asarray(batch.segments))
        return {"first_moment": reduced(values, batch, how), "second_moment": reduced(values**2, batch, how)}

    def _advantage(self, batch: Batch, statistics: Sums) -> Float[Array, "*B S"]:
        """The advantage of each text."""
        advantage = _column(batch, "advantage")
        if self.whiten == "none":
            return advantage
        sums = self._moments(batch) if statistics is None else statistics
        mean = sums["first_moment"].value
        deviation = jnp.sqrt(jnp.maximum(sums["second_moment"].value - mean**2, 0)) + 1e-6
        return stop_gradient((advantage if self.whiten == "texts" else advantage - mean) / deviation)

    def _bounds(self) -> Bounds:
        low, high = CLIPS.get(self.surrogate, CLIPS["ppo"])
        given = (low if self.clip_low is None else self.clip_low, high if self.clip_high is None else self.clip_high)
        return Bounds(*given, self.cap, self.dual_clip, self.tau_right, self.tau_wrong)

    def _old(self, logprob: Tokens, recorded: Tokens | None, reference: Tokens | None) -> Tokens:
        """Log-probabilities of the policy that the ratio is against, without gradient."""
        if self.old == "reference" and reference is not None:
            return reference
        if recorded is not None and self.old == "recorded":
            return recorded
        if self.old == "recorded" and self.surrogate != "reinforce":
            raise InputError(
                f"objective 'policy_gradient' with surrogate {self.surrogate!r} needs the sampler's log-probabilities, "
                "and the batch has none: record them and set data.task.logprobs=own, or set objective.old=current for "
                "one update per rollout"
            )
        return stop_gradient(logprob)

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None, statistics: Sums = None
    ) -> Outcome:
        """The loss of the batch, and what to watch; without `statistics` the batch counts as the entire one."""
        segments, own = jnp.asarray(batch.segments), self._advantage(batch, statistics)
        scores = policy.scores(batch)
        target = (jnp.asarray(batch.weights) != 0) & (base.is_target(segments) > 0)
        at_targets = lambda x: jnp.where(target, x, 0)  # what has no weight may be impossible, and 0 * inf is NaN
        logprob, recorded, theirs = at_targets(scores.logprob), batch.extras.get("sampled_logprob"), None
        recorded = None if recorded is None else at_targets(jnp.asarray(recorded, jnp.float32))
        if self.needs_reference:
            theirs = at_targets(sequences.scores_of(reference, batch, "policy_gradient").logprob)
        old = self._old(logprob, recorded, theirs)
        advantage = base.spread(own, segments)

        losses = surrogate_losses(self.surrogate, logprob, old, advantage, bounds=self._bounds(), **over_texts(batch))
        if self.mismatch_cap is not None:
            if recorded is None:
                raise InputError("objective.mismatch_cap needs what was recorded; set data.task.logprobs=own")
            losses = losses * jnp.minimum(jnp.exp(jnp.clip(old - recorded, -20, 20)), self.mismatch_cap)
        if self.kl_weight and theirs is not None:
            losses = losses + self.kl_weight * kl_estimate(self.kl, logprob, theirs)
        if self.entropy_weight:
            bonus = policy.map_logits(lambda logits, *_: entropy(logits), batch)
            losses = losses - self.entropy_weight * bonus
        metrics = self._metrics(batch, logprob, old, theirs, advantage)
        metrics["entropy"] = reduced(scores.entropy, batch, "token_mean")
        return reduced(losses, batch, self.reduction, self.length), metrics

    def _metrics(
        self, batch: Batch, logprob: Tokens, old: Tokens, theirs: Tokens | None, advantage: Tokens
    ) -> dict[str, Mean]:
        """What to watch, without gradient."""
        logprob, bounds = stop_gradient(logprob), self._bounds()
        ratio, tokens = jnp.exp(jnp.clip(logprob - old, -20, 20)), lambda x: reduced(x, batch, "token_mean")
        count, segments = sequences.segment_count(batch), jnp.asarray(batch.segments)
        target = (jnp.asarray(batch.weights) != 0) & (base.is_target(segments) > 0)
        size = base.segment_sum(jnp.asarray(target, jnp.float32), segments, count)
        live, reward, own = size > 0, _column(batch, "reward"), _column(batch, "advantage")
        groups = jnp.any(live, axis=1)
        texts = lambda x, which=live: sequences.mean_of(x, live & which)
        clipped = jnp.where(advantage > 0, ratio > 1 + bounds.high, (advantage < 0) & (ratio < 1 - bounds.low))
        metrics = {
            "reward": texts(reward),
            "advantage_abs": texts(jnp.abs(own)),
            "equal_groups": sequences.share_of(~jnp.any(live & (own != 0), axis=1), groups),
            "ratio": tokens(ratio),
            "drift": tokens(ratio - 1 - jnp.clip(logprob - old, -20, 20)),
            "length_right": texts(size, reward > 0),
            "length_wrong": texts(size, reward <= 0),
            "logprob_right": texts(base.segment_sum(logprob, segments, count), reward > 0),
            "logprob_wrong": texts(base.segment_sum(logprob, segments, count), reward <= 0),
        }
        if self.surrogate == "ppo":
            metrics["clip_share"] = tokens(jnp.asarray(clipped, jnp.float32))
        if theirs is not None:
            metrics["kl"] = tokens(kl_estimate("k3", logprob, theirs))
        if "segment_finished" in batch.extras:
            metrics["finished"] = texts(_column(batch, "finished"))
        return metrics


def _column(batch: Batch, name: str) -> Float[Array, "*B S"]:
    """`extras["segment_<name>"]` of a batch of groups; InputError for another one."""
    shape = tuple(batch.tokens.shape)
    if len(shape) != 3:
        raise InputError(
            f"objective 'policy_gradient' compares candidates: got tokens of shape {shape}, expected (B, G, T); set "
            "data.task to the task 'group'"
        )
    return sequences.segment_extra(batch, name, "policy_gradient", "set data.task to the task 'group'")
