"""DCO: direct coverage optimisation, a loss for pass@n, and its arithmetic on log-probabilities."""

import dataclasses
import math
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Lt
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.base import Key, Outcome
from mtjax.objectives.numerics import log1mexp, wide
from mtjax.types import Batch, Policy, TokenScores

DEAD = 0.1  # An example with a smaller weight has almost no gradient left: `p > 3.6 / n`. The authors' filter drops it.
TINY = -12.0  # Where `log(n p)` is below this, two terms of the series in `n p` are exact in float32.
Samples = Annotated[base.Number, Ge(1), Lt(math.inf), "1 is cross-entropy"]


def dco_loss(logprob: ArrayLike, n: ArrayLike) -> Float[Array, "..."]:
    """`-log(1 - (1 - p)^n)` of `logprob = log p`: minus the log-probability that one of n samples is right.

    Elementwise, float32. Computed from log p, so that it is accurate for log p from -1e5 to 0 and n up to 1e6; at n = 1
    it is exactly `-logprob`. The gradient is `-dco_weight(logprob, n)`, always finite; n gets none.

    >>> round(float(dco_loss(-8.0, 256)), 4)
    2.4973

    Args:
        logprob: log-probability of the complete answer in nats (a sum over its tokens, not a mean), any shape. Values
            above 0 (rounding) count as 0.
        n: number of samples at test time, > 0; any real number, traced or not, broadcast with `logprob`.

    Source: Chen et al., "Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence Improves
    Mathematical Reasoning", NeurIPS 2025 (arXiv 2502.07154).
    """
    return _loss(*_both(logprob, n))


def dco_weight(logprob: ArrayLike, n: ArrayLike) -> Float[Array, "..."]:
    """`F(n, p) = n (1 - p)^(n - 1) p / (1 - (1 - p)^n)`: the factor on the gradient of the cross-entropy.

    Elementwise, float32; 1 at n = 1 and where `n p` is small, 0.58 at `n p = 1`, 0 at p = 1. It gets no gradient.

    >>> round(float(dco_weight(-8.0, 256)), 4)
    0.9578

    Args and source: as `dco_loss`; `logprob` may be the logarithm of a success rate, -inf for 0.
    """
    return jax.lax.stop_gradient(_weight(*_both(logprob, n)))


def _both(logprob: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    logprob, n = jnp.broadcast_arrays(wide(logprob), wide(n))
    return logprob, jax.lax.stop_gradient(n)


def _cases(logprob: Array, n: Array) -> tuple[Array, Array]:
    """Whether the series holds, and `log p` with a harmless value where it does."""
    series = logprob + jnp.log(n) < TINY
    return series, jnp.where(series, -1.0, logprob)


@jax.custom_jvp
def _loss(logprob: Array, n: Array) -> Array:
    series, inner = _cases(logprob, n)
    small = -(logprob + jnp.log(n)) + (n - 1) * jnp.exp(logprob) / 2
    loss = jnp.where(series, small, -log1mexp(n * log1mexp(inner)))
    return jnp.where(n == 1, -logprob, jnp.where(logprob >= 0, 0, loss))


def _weight(logprob: Array, n: Array) -> Array:
    series, inner = _cases(logprob, n)
    small = 1 - (n - 1) * jnp.exp(jnp.where(series, logprob, -1.0)) / 2
    log_wrong = log1mexp(inner)
    weight = n * jnp.exp(inner) * jnp.exp((n - 1) * log_wrong) / -jnp.expm1(n * log_wrong)
    return jnp.where(n == 1, 1, jnp.where(logprob >= 0, 0, jnp.where(series, small, weight)))


_loss.defjvps(lambda tangent, _, logprob, n: -_weight(logprob, n) * tangent, None)


@base.OBJECTIVES.register("dco")
@dataclasses.dataclass(frozen=True)
class Dco(base.Settings):
    """Direct coverage optimisation: a loss for pass@n that stops training answers that n samples already find.

    Formula: per example, with log p the sum over its weighted targets and F = `dco_weight`,

    - granularity `sequence`: `dco_loss(log p, n)`, whose gradient is `F(n, p)` times the cross-entropy's.
    - `step`: `sum_s dco_loss(log p_s, n)` over the steps s that `step_ids` numbers; n is then the effective N of a
      step, and a proof of k steps needs some n^k samples.
    - `external`: `F(n, q) * (-log p)` with a given success rate q, for answers after long reasoning, where log p of one
      text says little about the answer.

    With `reduction="token_mean"` it is instead the mean over tokens of F times the cross-entropy, F being a constant:
    what the authors released, and not the gradient of any coverage. The loss is the mean over examples.

    Want it when you will draw many samples and take any right one; pass@1 falls by design. On long complete solutions
    F is 1 and this is cross-entropy (see the metric `dco_weight`): use it on short answers, on steps, or with a success
    rate.

    Needs `extras["step_ids"]` `[*B, T]` for `step` (int, 0 is no step and not trained) and
    `extras["segment_success_rate"]` `[*B, S]` for `external`. `extras["segment_n"]` `[*B, S]`, where present, is each
    example's own n.

    Metrics: `dco_weight`, the mean of F over examples (or steps), `dead_share` (F below 0.1), `logprob` (nats per
    example), and the histogram `confidence/...` of log p, of steps where F is of steps.

    Source: Chen et al., "Rethinking Fine-Tuning when Scaling Test-Time Compute: Limiting Confidence Improves
    Mathematical Reasoning", NeurIPS 2025 (arXiv 2502.07154); steps and the factor of the gradient follow the authors'
    post of 2025-03-07 and their code (`allanraventos/refine`), see `dco_paper` and `dco_code`.
    """

    n: Samples = 256
    """Samples at test time (of one step, with granularity step); 1 is cross-entropy. About as many as you will draw."""
    granularity: Literal["sequence", "step", "external"] = "sequence"
    """Whose probability: the whole example's, each step's, or a success rate that the data brings."""
    reduction: Literal["sum", "token_mean"] = "sum"
    """Sum over tokens, the exact gradient, or F times the mean per token, as released."""

    def __call__(self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: Key = None) -> Outcome:
        batch, of_steps = self._only_steps(batch), self.granularity == "step"
        scores, segments = policy.scores(batch), jnp.asarray(batch.segments)
        ours, units = sequences.sequence_scores(scores, batch), self._units(scores, batch)
        token_logprob, _ = sequences.target_logprob(scores, batch)
        per_example = lambda x: base.segment_sum(x, segments, sequences.segment_count(batch))
        if self.reduction == "sum" and self.granularity != "external":
            loss = dco_loss(units.logprob, units.n)
            loss = per_example(jnp.where(units.live, loss, 0)) if of_steps else loss
        else:
            factor = units.weight if of_steps else base.spread(units.weight, segments)
            # A weight of 0 must drop a token even if its log-probability is infinite.
            loss = -per_example(jnp.where(factor != 0, factor * token_logprob, 0))
            if self.reduction == "token_mean":
                loss = loss / jnp.where(ours.live, ours.length, 1)
        metrics = {
            "dco_weight": sequences.mean_of(units.weight, units.live),
            "dead_share": sequences.share_of(units.weight < DEAD, units.live),
            "logprob": sequences.mean_of(ours.logprob, ours.live),
        }
        return sequences.mean_of(loss, ours.live), metrics | sequences.confidence(units.logprob, units.live)

    def weights(self, policy: Policy, batch: Batch) -> Float[Array, "*B S"]:
        """F of each packed example, for the live filter; with granularity step, the largest F of its steps."""
        batch = self._only_steps(batch)
        units = self._units(policy.scores(batch), batch)
        weight = jnp.where(units.live, units.weight, 0)
        if self.granularity != "step":
            return weight
        own = jnp.asarray(batch.segments)[..., None] == jnp.arange(1, sequences.segment_count(batch) + 1)
        return jnp.max(jnp.where(own, weight[..., None], 0), axis=-2)

    def _only_steps(self, batch: Batch) -> Batch:
        """With granularity step, the batch without the targets outside of steps."""
        if self.granularity != "step":
            return batch
        if "step_ids" not in batch.extras:
            raise InputError(
                f"objective 'dco' with granularity 'step' needs extras['step_ids'], got {sorted(batch.extras)}; set "
                "data.task.steps=True"
            )
        inside = jnp.asarray(batch.extras["step_ids"]) > 0
        return batch._replace(weights=jnp.where(inside, jnp.asarray(batch.weights), 0))

    def _units(self, scores: TokenScores, batch: Batch) -> "Units":
        ours = sequences.sequence_scores(scores, batch)
        n = jnp.asarray(batch.extras.get("segment_n", jnp.full(ours.live.shape, self.n)), jnp.float32)
        n = jnp.where(ours.live, n, 1)
        if self.granularity == "step":
            token_logprob, weights = sequences.target_logprob(scores, batch)
            segments, steps = jnp.asarray(batch.segments), jnp.asarray(batch.extras["step_ids"])
            logprob, first = step_logprob(token_logprob, weights != 0, segments, steps)
            n = jnp.where(weights != 0, base.spread(n, segments), 1)
            return Units(logprob, n, dco_weight(logprob, n), first)
        if self.granularity == "external":
            rate = sequences.segment_extra(batch, "success_rate", "dco", "set data.task.success_rate=True")
            return Units(ours.logprob, n, dco_weight(jnp.log(rate), n), ours.live)
        return Units(ours.logprob, n, dco_weight(ours.logprob, n), ours.live)


class Units(NamedTuple):
    """What F is of: examples, or steps, which stand at every target of theirs and are live at the first one."""

    logprob: Float[Array, "*N"]  # log-probability of the example or step, in nats
    n: Float[Array, "*N"]  # samples
    weight: Float[Array, "*N"]  # F, without gradient
    live: Bool[Array, "*N"]  # what to count


def step_logprob(
    token_logprob: Float[Array, "*B T"],
    target: Bool[Array, "*B T"],
    segments: Int[Array, "*B T"],
    steps: Int[Array, "*B T"],
) -> tuple[Float[Array, "*B T"], Bool[Array, "*B T"]]:
    """The sum of `token_logprob` over the step of each target (0 elsewhere), and whether it is its step's first target.

    A step is a run of tokens of one segment with one number. Time and memory grow with T, not with its square.
    """
    place = jnp.arange(length := segments.shape[-1])

    def one_row(logprob: Array, target: Array, segments: Array, steps: Array) -> tuple[Array, Array]:
        changes = lambda x: jnp.concatenate([jnp.ones(1, bool), x[1:] != x[:-1]])
        run = jnp.cumsum(changes(segments) | changes(steps)) - 1
        total = jax.ops.segment_sum(jnp.where(target, logprob, 0), run, length, indices_are_sorted=True)
        first = jax.ops.segment_min(jnp.where(target, place, length), run, length, indices_are_sorted=True)
        return jnp.where(target, total[run], 0), target & (place == first[run])

    rows = [x.reshape(-1, length) for x in (token_logprob, target, segments, steps)]
    total, first = jax.vmap(one_row)(*rows)
    return total.reshape(segments.shape), first.reshape(segments.shape)


def dco_paper(n: base.Number = 256) -> Dco:
    """DCO on direct answers: the exact loss of whole sequences. 256 is the n of a featured run; the grid is unknown."""
    return Dco(n=n, granularity="sequence", reduction="sum")


def dco_code(n: base.Number = 1, granularity: Literal["sequence", "external"] = "external") -> Dco:
    """DCO as released (`allanraventos/refine`): F times the token mean, F by default of a sampled success rate.

    The command of its README has n = 1, where F is 1: all of the effect is that problems solved in a tenth of 64
    samples or more are left out, which is for the data to do.
    """
    return Dco(n=n, granularity=granularity, reduction="token_mean")
