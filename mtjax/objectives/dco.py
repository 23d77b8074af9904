"""DCO: train what N samples will be asked for, so that the model does not become surer than that needs."""

import dataclasses
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mtjax.errors import InputError
from mtjax.objectives import base, sequences
from mtjax.objectives.coverage import dco_loss, dco_weight
from mtjax.types import Batch, Mean, Metrics, Policy

__all__ = ["DEAD", "Dco", "dco_code", "dco_loss", "dco_paper", "dco_weight"]

DEAD = 0.1
"""An example whose weight is below this hardly learns any more: `p > 3.6 / n`. The authors' filter drops it."""


@base.OBJECTIVES.register("dco")
@dataclasses.dataclass(frozen=True)
class Dco:
    """Direct coverage optimisation: cross-entropy that stops pushing an example once n samples will find it.

    Formula: per example, with log p the sum over its weighted targets and F = `dco_weight`,

    - granularity `sequence`: `dco_loss(log p, n)`, whose gradient is `F(n, p)` times the cross-entropy's.
    - `step`: `sum_s dco_loss(log p_s, n)` over the steps s that `step_ids` numbers; n is then the effective N of a
      step, and a proof of k steps needs some n^k samples.
    - `external`: `F(n, q) * (-log p)` with a given success rate q, for answers behind long reasoning, where log p of
      one text says little of the answer.

    With `reduction="token_mean"` it is instead the mean over tokens of F times the cross-entropy, F being a constant:
    what the authors released, and not the gradient of any coverage. The loss is the mean over examples.

    Want it when you will draw many samples and take any right one; pass@1 is meant to suffer. On whole long solutions
    F is 1 and this is cross-entropy, as the metric `dco_weight` tells: use it on short answers, on steps, or with a
    success rate.

    Needs `extras["step_ids"]` `[*B, T]` for `step` (int, 0 is no step and not trained) and
    `extras["segment_success_rate"]` `[*B, S]` for `external`. `extras["segment_n"]` `[*B, S]`, where present, is each
    example's own n.

    Metrics: `dco_weight`, the mean of F over examples (or steps), `dead_share` (F below 0.1), `logprob` (nats per
    example), and the histogram `confidence/...` of log p, of steps where F is of steps.

    Source: as `dco_loss`; steps and the gradient's factor as told by the authors' post of 2025-03-07 and their code
    (`allanraventos/refine`), whose variants are `dco_paper` and `dco_code`.
    """

    task: ClassVar[str] = "any"
    needs_reference: ClassVar[bool] = False

    n: base.Number = 256
    """Samples at test time (of one step, with granularity step); 1 is cross-entropy. About as many as you will draw."""
    granularity: Literal["sequence", "step", "external"] = "sequence"
    """Whose probability: the whole example's, each step's, or a success rate that the data brings."""
    reduction: Literal["sum", "token_mean"] = "sum"
    """Sum over tokens, the exact gradient, or F times the mean per token, as released."""

    def __post_init__(self) -> None:
        base.require(self, "n", at_least=1, why="1 is cross-entropy")
        for name, known in (("granularity", ("sequence", "step", "external")), ("reduction", ("sum", "token_mean"))):
            if getattr(self, name) not in known:
                raise InputError(f"objective.{name}={getattr(self, name)!r}: expected one of {known}")

    def __call__(
        self, policy: Policy, batch: Batch, *, reference: Policy | None = None, key: PRNGKeyArray | None = None
    ) -> tuple[Mean, Metrics]:
        """The loss of the batch; mean weight, log-probability and confidence."""
        batch, steps = self._only_steps(batch)
        scores, segments = policy.scores(batch), jnp.asarray(batch.segments)
        ours = sequences.sequence_scores(scores, batch)
        token_logprob, weights = sequences.target_logprob(scores, batch)
        units = self._units(ours, token_logprob, weights, batch, steps)
        per_example = lambda x: base.segment_sum(x, segments, sequences.segment_count(batch))
        if self.reduction == "sum" and self.granularity != "external":
            loss = dco_loss(units.logprob, units.n)
            loss = loss if steps is None else per_example(jnp.where(units.live, loss, 0))
        else:
            factor = units.weight if steps is not None else base.spread(units.weight, segments)
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
        """F of each packed example, of its most live step with granularity step; 0 where there is none.

        What a filter of live examples keeps by: those above `DEAD`.
        """
        batch, steps = self._only_steps(batch)
        scores = policy.scores(batch)
        units = self._units(
            sequences.sequence_scores(scores, batch), *sequences.target_logprob(scores, batch), batch, steps
        )
        weight = jnp.where(units.live, units.weight, 0)
        if steps is None:
            return weight
        number = jnp.arange(1, sequences.segment_count(batch) + 1)
        own = jnp.asarray(batch.segments)[..., None] == number
        return jnp.max(jnp.where(own, weight[..., None], 0), axis=-2)

    def _only_steps(self, batch: Batch) -> tuple[Batch, Int[Array, "*B T"] | None]:
        """The batch without the targets outside of steps, and the numbers of steps; with granularity step only."""
        if self.granularity != "step":
            return batch, None
        if "step_ids" not in batch.extras:
            raise InputError(
                f"objective 'dco' with granularity 'step' needs extras['step_ids'], got {sorted(batch.extras)}; set "
                "data.task.steps=True"
            )
        steps = jnp.asarray(batch.extras["step_ids"])
        return batch._replace(weights=jnp.where(steps > 0, jnp.asarray(batch.weights), 0)), steps

    def _units(
        self,
        ours: sequences.Sequences,
        token_logprob: Float[Array, "*B T"],
        weights: Float[Array, "*B T"],
        batch: Batch,
        steps: Int[Array, "*B T"] | None,
    ) -> "Units":
        """What F is of: examples or steps."""
        n = jnp.asarray(batch.extras.get("segment_n", jnp.full(ours.live.shape, self.n)), jnp.float32)
        n = jnp.where(ours.live, n, 1)
        if steps is not None:
            segments = jnp.asarray(batch.segments)
            logprob, first = step_logprob(token_logprob, weights != 0, segments, steps)
            n = jnp.where(weights != 0, base.spread(n, segments), 1)
            return Units(logprob, n, dco_weight(logprob, n), first)
        if self.granularity == "external":
            rate = sequences.segment_extra(batch, "success_rate", "dco", "set data.task.success_rate=True")
            return Units(ours.logprob, n, dco_weight(jnp.log(rate), n), ours.live)
        return Units(ours.logprob, n, dco_weight(ours.logprob, n), ours.live)


class Units(NamedTuple):
    """What F is of: examples, or steps, which stand at every target of theirs and are live at the first one.

    Attributes:
        logprob: log-probability of the example or step, in nats.
        n: samples.
        weight: F, without gradient.
        live: what to count.
    """

    logprob: Float[Array, "*N"]
    n: Float[Array, "*N"]
    weight: Float[Array, "*N"]
    live: Bool[Array, "*N"]


def step_logprob(
    token_logprob: Float[Array, "*B T"],
    target: Bool[Array, "*B T"],
    segments: Int[Array, "*B T"],
    steps: Int[Array, "*B T"],
) -> tuple[Float[Array, "*B T"], Bool[Array, "*B T"]]:
    """The sum of `token_logprob` over the step of each target (0 elsewhere), and whether it is its step's first target.

    A step is a run of tokens of one segment with one number. Time and memory grow with T, not with its square.
    """
    length = segments.shape[-1]
    place = jnp.arange(length)

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
